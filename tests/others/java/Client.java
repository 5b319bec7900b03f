import com.google.common.eventbus.EventBus;
import com.google.common.eventbus.Subscribe;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.servicecomb.http.client.common.HttpConfiguration.SSLProperties;
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
import org.apache.servicecomb.service.center.client.model.ServiceCenterConfiguration;
import org.springframework.core.env.StandardEnvironment;

/** What Java chassis 3 and Spring Cloud Huawei run in the background: register, beat, poll; then leave. */
public class Client {
  private boolean registered;
  private int beats;

  @Subscribe
  public synchronized void registered(MicroserviceInstanceRegistrationEvent event) {
    registered = event.isSuccess();
  }

  @Subscribe
  public synchronized void beat(HeartBeatEvent event) {
    if (!event.isSuccess()) {
      System.out.println("a heartbeat was refused");
    }
    beats += 1;
  }

  private synchronized boolean isThere() {
    return registered && beats >= 2;
  }

  public static void main(String[] arguments) throws Exception {
    EventBus bus = new EventBus();
    Client client = new Client();
    bus.register(client);
    SSLProperties plain = new SSLProperties();
    plain.setEnabled(false);
    var addresses = new ServiceCenterAddressManager("default", List.of(arguments[0]), "", "", bus);
    var calls = new ServiceCenterClient(
        addresses, plain, request -> Map.of(), "default", Map.of(), new StandardEnvironment());
    calls.setEventBus(bus);

    Microservice service = service();
    MicroserviceInstance instance = instance();
    new ServiceCenterRegistration(calls, new ServiceCenterConfiguration(), bus)
        .setMicroservice(service).setMicroserviceInstance(instance).setHeartBeatInterval(1000)
        .setSchemaInfos(List.of()).startRegistration();
    while (!client.isThere()) {
      Thread.sleep(100);
    }
    System.out.println("registered, and two heartbeats");

    var discovery = new ServiceCenterDiscovery(calls, bus).setPollInterval(1000);
    discovery.updateMyselfServiceId(service.getServiceId());
    discovery.startDiscovery();
    for (String name : List.of("java-service", "cart")) {
      SubscriptionKey key = new SubscriptionKey("others", name);
      discovery.registerIfNotPresent(key);
      List<MicroserviceInstance> found = discovery.getInstanceCache(key);
      while (found == null || found.isEmpty()) {
        Thread.sleep(100);
        found = discovery.getInstanceCache(key);
      }
      System.out.println("found " + name + " at " + found.get(0).getEndpoints());
    }

    calls.updateMicroserviceInstanceStatus(
        service.getServiceId(), instance.getInstanceId(), MicroserviceInstanceStatus.DOWN);
    calls.deleteMicroserviceInstance(service.getServiceId(), instance.getInstanceId());
    System.out.println("left");
    System.exit(0);
  }

  private static Microservice service() {
    Framework framework = new Framework();
    framework.setName("others");
    framework.setVersion("1");
    Microservice service = new Microservice("java-service");
    service.setAppId("others");
    service.setVersion("1.0.0");
    service.setEnvironment("");
    service.setFramework(framework);
    service.setProperties(new HashMap<>());
    service.setSchemas(new ArrayList<>());
    return service;
  }

  private static MicroserviceInstance instance() {
    HealthCheck check = new HealthCheck();
    check.setMode(HealthCheckMode.push);
    check.setInterval(5);
    check.setTimes(3);
    MicroserviceInstance instance = new MicroserviceInstance();
    instance.setHostName("h");
    instance.setEndpoints(List.of("rest://10.0.0.9:8080"));
    instance.setStatus(MicroserviceInstanceStatus.UP);
    instance.setHealthCheck(check);
    return instance;
  }
}
