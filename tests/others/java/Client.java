import com.google.common.eventbus.EventBus;
import com.google.common.eventbus.Subscribe;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.apache.servicecomb.http.client.auth.RequestAuthHeaderProvider;
import org.apache.servicecomb.http.client.common.HttpConfiguration.SSLProperties;
import org.apache.servicecomb.service.center.client.DiscoveryEvents.InstanceChangedEvent;
import org.apache.servicecomb.service.center.client.RegistrationEvents.HeartBeatEvent;
import org.apache.servicecomb.service.center.client.RegistrationEvents.MicroserviceInstanceRegistrationEvent;
import org.apache.servicecomb.service.center.client.ServiceCenterAddressManager;
import org.apache.servicecomb.service.center.client.ServiceCenterClient;
import org.apache.servicecomb.service.center.client.ServiceCenterDiscovery;
import org.apache.servicecomb.service.center.client.ServiceCenterDiscovery.SubscriptionKey;
import org.apache.servicecomb.service.center.client.ServiceCenterRegistration;
import org.apache.servicecomb.service.center.client.model.Framework;
import org.apache.servicecomb.service.center.client.model.HealthCheck;
import org.apache.servicecomb.service.center.client.model.HealthCheckMode;
import org.apache.servicecomb.service.center.client.model.Microservice;
import org.apache.servicecomb.service.center.client.model.MicroserviceInstance;
import org.apache.servicecomb.service.center.client.model.MicroserviceInstanceStatus;
import org.apache.servicecomb.service.center.client.model.RbacTokenRequest;
import org.apache.servicecomb.service.center.client.model.SchemaInfo;
import org.apache.servicecomb.service.center.client.model.ServiceCenterConfiguration;
import org.springframework.core.env.StandardEnvironment;

/**
 * What a Java chassis service does with a registry, done by the library that does it there: it registers itself with a
 * schema, beats, finds a provider, and hears what changes. Every step is checked; the first that fails ends it with 1.
 *
 * <p>Arguments: the registry's address, and where there are accounts a name and a password.
 */
public final class Client {
  private static final String SCHEMA = "swagger: '2.0'\ninfo:\n  title: cart\n  version: 1.0.0\n";
  private static final long PATIENCE_S = 30;

  private final EventBus events = new EventBus();
  private final BlockingQueue<List<MicroserviceInstance>> changes = new LinkedBlockingQueue<>();
  private final CountDownLatch registered = new CountDownLatch(1);
  private final CountDownLatch beaten = new CountDownLatch(2);
  private final AtomicReference<String> token = new AtomicReference<>("");
  private final ServiceCenterClient client;

  private Client(String address) {
    ServiceCenterAddressManager addresses =
        new ServiceCenterAddressManager("default", List.of(address), "", "", events);
    RequestAuthHeaderProvider credentials =
        request -> token.get().isEmpty() ? Collections.emptyMap() : Map.of("Authorization", "Bearer " + token.get());
    SSLProperties plain = new SSLProperties();
    plain.setEnabled(false);
    client =
        new ServiceCenterClient(
            addresses, plain, credentials, "default", Collections.emptyMap(), new StandardEnvironment());
    client.setEventBus(events);
    events.register(this);
  }

  @Subscribe
  public void onRegistered(MicroserviceInstanceRegistrationEvent event) {
    if (event.isSuccess()) {
      registered.countDown();
    }
  }

  @Subscribe
  public void onBeat(HeartBeatEvent event) {
    if (event.isSuccess()) {
      beaten.countDown();
    }
  }

  @Subscribe
  public void onChange(InstanceChangedEvent event) {
    changes.add(event.getInstances());
  }

  private static Microservice microservice(String name) {
    Microservice microservice = new Microservice(name);
    microservice.setAppId("others");
    microservice.setVersion("1.0.0");
    microservice.setEnvironment("");
    Framework framework = new Framework();
    framework.setName("servicecomb-java-chassis");
    framework.setVersion("2.8.30");
    microservice.setFramework(framework);
    return microservice;
  }

  private static MicroserviceInstance instance(String endpoint) {
    HealthCheck check = new HealthCheck();
    check.setMode(HealthCheckMode.push);
    check.setInterval(10);
    check.setTimes(3);
    MicroserviceInstance instance = new MicroserviceInstance();
    instance.setHostName("java");
    instance.setEndpoints(List.of(endpoint));
    instance.setHealthCheck(check);
    instance.setStatus(MicroserviceInstanceStatus.UP);
    return instance;
  }

  private static void step(String what, boolean right) {
    if (!right) {
      System.out.println("FAILED: " + what);
      System.exit(1);
    }
    System.out.println("ok: " + what);
  }

  private static void within(String what, Supplier<Boolean> holds) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
    while (!holds.get() && System.nanoTime() < end) {
      Thread.sleep(50);
    }
    step(what, holds.get());
  }

  private void logIn(String name, String password) {
    RbacTokenRequest request = new RbacTokenRequest();
    request.setName(name);
    request.setPassword(password);
    token.set(client.queryToken(request, "").getToken());
    step("log in", !token.get().isEmpty());
  }

  private void run() throws InterruptedException {
    Microservice cart = microservice("cart");
    cart.setSchemas(List.of("cart"));
    MicroserviceInstance own = instance("rest://10.0.0.1:8080?sslEnabled=false&protocol=http2");
    ServiceCenterRegistration registration =
        new ServiceCenterRegistration(client, new ServiceCenterConfiguration(), events)
            .setMicroservice(cart)
            .setMicroserviceInstance(own)
            .setSchemaInfos(List.of(new SchemaInfo("cart", SCHEMA, "summary")))
            .setHeartBeatInterval(1000);
    registration.startRegistration();
    step("register", registered.await(PATIENCE_S, TimeUnit.SECONDS));
    step("beat twice", beaten.await(PATIENCE_S, TimeUnit.SECONDS));
    step("read the schema", SCHEMA.equals(client.getServiceSchemaContext(cart.getServiceId(), "cart")));
    step(
        "read the own instance",
        client.getMicroserviceInstance(cart.getServiceId(), own.getInstanceId()).getEndpoints().equals(own.getEndpoints()));
    step("see the registry itself", !client.getServiceCenterInstances().getInstances().isEmpty());

    Microservice web = microservice("web");
    String webId = client.registerMicroservice(web).getServiceId();
    MicroserviceInstance provider = instance("rest://10.0.0.2:8080");
    provider.setServiceId(webId);
    String first = client.registerMicroserviceInstance(provider).getInstanceId();

    ServiceCenterDiscovery discovery = new ServiceCenterDiscovery(client, events);
    discovery.updateMyselfServiceId(cart.getServiceId());
    discovery.setPollInterval(1000);
    SubscriptionKey key = new SubscriptionKey("others", "web");
    discovery.registerIfNotPresent(key);
    discovery.startDiscovery();
    within("find a provider", () -> size(discovery, key) == 1);

    MicroserviceInstance another = instance("rest://10.0.0.3:8080");
    another.setServiceId(webId);
    String second = client.registerMicroserviceInstance(another).getInstanceId();
    within("see that another has come", () -> size(discovery, key) == 2);
    step("set a status", client.updateMicroserviceInstanceStatus(webId, second, MicroserviceInstanceStatus.DOWN));
    within(
        "see that it is down",
        () ->
            discovery.getInstanceCache(key).stream()
                .anyMatch(found -> found.getStatus() == MicroserviceInstanceStatus.DOWN));
    client.deleteMicroserviceInstance(webId, second);
    within("see that it has left", () -> size(discovery, key) == 1);
    step("be told of each change", changes.size() >= 3);
    step("beat by hand", client.sendHeartBeat(webId, first));
    client.deleteMicroserviceInstance(webId, first);
    client.deleteMicroserviceInstance(cart.getServiceId(), own.getInstanceId());
    discovery.stop();
    registration.stop();
  }

  private static int size(ServiceCenterDiscovery discovery, SubscriptionKey key) {
    List<MicroserviceInstance> found = discovery.getInstanceCache(key);
    return found == null ? 0 : found.size();
  }

  public static void main(String[] arguments) throws InterruptedException {
    Client client = new Client(arguments[0]);
    if (arguments.length > 2) {
      client.logIn(arguments[1], arguments[2]);
    }
    client.run();
    System.exit(0);
  }
}
