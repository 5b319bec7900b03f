// What a person can do to services and instances: asked about first, said afterwards, and undone where that is possible.

import { call, query, registry } from "./api.js";
import { store } from "./store.js";
import { attempt, confirm } from "../parts/dialog.js";
import { h } from "../parts/dom.js";
import { t } from "../texts.js";

/** @typedef {Record<string, any>} Instance */

export const STATUSES = ["UP", "DOWN", "STARTING", "OUTOFSERVICE", "TESTING"];

/** @param {() => Promise<unknown>} act @returns {() => Promise<void>} */
function andLook(act) {
  return async () => {
    await act();
    store.wake();
  };
}

/**
 * @param {Instance} instance
 * @param {string} status
 */
export async function changeStatus(instance, status) {
  const name = instance.hostName || instance.instanceId;
  const before = instance.status;
  /** @param {string} value */
  const set = (value) => andLook(() => call("PUT", registry("microservices", instance.serviceId, "instances", instance.instanceId, "status") + query({ value })));
  const body = [h("p", t("status.will", { name, before, status })), h("p", t(status === "UP" ? "status.will.up" : "status.will.not-up"))];
  if (!(await confirm({ title: t("status.change"), body, act: t("status.set", { status }) }))) return;
  await attempt(set(status), t("status.done", { name, status }), set(before));
}

/**
 * @param {Instance} instance
 * @returns {Promise<boolean>} whether it was done
 */
export async function deregister(instance) {
  const name = instance.hostName || instance.instanceId;
  const body = [h("p", t("deregister.will", { name })), h("p", t("deregister.beats"))];
  if (!(await confirm({ title: t("deregister"), body, act: t("deregister"), danger: true }))) return false;
  const place = registry("microservices", instance.serviceId, "instances");
  const { timestamp, modTimestamp, serviceId, version, ...content } = instance;
  void [timestamp, modTimestamp, serviceId, version];
  return attempt(
    andLook(() => call("DELETE", registry("microservices", instance.serviceId, "instances", instance.instanceId))),
    t("deregister.done", { name }),
    andLook(() => call("POST", place, { body: { instance: content } })),
  );
}

/**
 * @param {import("./store.js").Service} service
 * @param {number} consumers
 * @returns {Promise<boolean>} whether it was done
 */
export async function unregister(service, consumers) {
  const what = { name: `${service.name} ${service.version}`, instances: service.total, consumers };
  const body = [h("p", t("unregister.will", what)), h("p", t("unregister.final"))];
  if (!(await confirm({ title: t("unregister"), body, act: t("unregister"), danger: true }))) return false;
  const target = registry("microservices", service.id) + query({ force: "true" });
  return attempt(andLook(() => call("DELETE", target)), t("unregister.done", what));
}
