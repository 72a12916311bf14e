import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.hadoop.ha.HAServiceProtocol;
import org.apache.hadoop.yarn.api.records.ApplicationId;
import org.apache.hadoop.yarn.api.records.ApplicationReport;
import org.apache.hadoop.yarn.api.records.ApplicationSubmissionContext;
import org.apache.hadoop.yarn.api.records.ContainerLaunchContext;
import org.apache.hadoop.yarn.api.records.Resource;
import org.apache.hadoop.yarn.api.records.YarnApplicationState;
import org.apache.hadoop.yarn.client.RMHAServiceTarget;
import org.apache.hadoop.yarn.client.api.YarnClient;
import org.apache.hadoop.yarn.conf.YarnConfiguration;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.ZooKeeper;

/**
 * Hadoop's elector and YARN's state store: two resource managers, one of them active. Applications are submitted all the time, while the ZooKeeper
 * leader dies, the active manager dies, and an active manager misses its session; at the end each application that was accepted is known.
 */
public final class Work {
    private static final int SESSION_MS = 10_000;
    private static final String STORE = "/rmstore/ZKRMStateRoot/RMAppRoot";
    private static final List<String> NAMES = List.of("rm1", "rm2");

    private final Lab lab;
    private final Map<String, Process> managers = new TreeMap<>();
    private final Map<String, String> settings = new LinkedHashMap<>();
    private final Map<Integer, ApplicationId> submitted = new ConcurrentHashMap<>();
    private YarnClient client;

    private Work(Lab lab) {
        this.lab = lab;
    }

    public static void main(String[] arguments) {
        Lab.main(arguments, lab -> new Work(lab).run());
    }

    private void run() throws Exception {
        settings.put("yarn.resourcemanager.ha.enabled", "true");
        settings.put("yarn.resourcemanager.ha.rm-ids", String.join(",", NAMES));
        settings.put("yarn.resourcemanager.cluster-id", "lab");
        settings.put("yarn.resourcemanager.recovery.enabled", "true");
        settings.put("yarn.resourcemanager.store.class", "org.apache.hadoop.yarn.server.resourcemanager.recovery.ZKRMStateStore");
        settings.put("yarn.resourcemanager.scheduler.class", "org.apache.hadoop.yarn.server.resourcemanager.scheduler.fifo.FifoScheduler");
        settings.put("hadoop.zk.address", lab.connect);
        settings.put("hadoop.zk.timeout-ms", Integer.toString(SESSION_MS));
        settings.put("hadoop.tmp.dir", lab.directory.resolve("tmp").toString());
        // How long a client goes on asking a manager that does not answer.
        settings.put("yarn.client.failover-sleep-base-ms", "200");
        settings.put("yarn.client.failover-sleep-max-ms", "1000");
        settings.put("ipc.client.connect.timeout", "3000");
        settings.put("ipc.client.rpc-timeout.ms", "10000");
        for (String name : NAMES) {
            for (String port : List.of("address", "scheduler.address", "resource-tracker.address", "admin.address", "webapp.address")) {
                settings.put("yarn.resourcemanager." + port + "." + name, "127.0.0.1:" + lab.port());
            }
        }
        for (String name : NAMES) {
            start(name);
        }
        client = YarnClient.createYarnClient();
        client.init(configuration(null));
        client.start();
        Lab.await("one manager is active, the other stands by", () -> active() != null && states().contains("STANDBY"));
        lab.did("two resource managers, " + active() + " is active");
        try (Writer writer = new Writer(this::submit)) {
            writer.goesOn();
            lab.ask("kill-leader");
            writer.goesOn();
            lab.ask("restart");
            lab.did("the ZooKeeper leader died: applications are accepted");
            locked();
            killOne();
            activeDies(writer);
            sessionExpires(writer);
            lab.ask("kill-leader");
            activeStops(writer);
            lab.ask("restart");
            known(writer);
        }
    }

    private YarnConfiguration configuration(String id) {
        YarnConfiguration all = new YarnConfiguration();
        settings.forEach(all::set);
        if (id != null) {
            all.set("yarn.resourcemanager.ha.id", id);
        }
        return all;
    }

    private void start(String name) throws Exception {
        List<String> jvm = List.of("-Xmx400m", "--add-opens", "java.base/java.lang=ALL-UNNAMED");
        List<String> arguments = new ArrayList<>();
        settings.forEach((key, value) -> arguments.addAll(List.of("-D", key + "=" + value)));
        arguments.addAll(List.of("-D", "yarn.resourcemanager.ha.id=" + name));
        String mainClass = "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager";
        managers.put(name, lab.start(name, jvm, mainClass, arguments.toArray(new String[0])));
    }

    /** What a manager says of itself; null if it says nothing. */
    private String state(String name) {
        try {
            YarnConfiguration asked = configuration(name);
            HAServiceProtocol proxy = new RMHAServiceTarget(asked).getProxy(asked, 3000);
            return proxy.getServiceStatus().getState().name();
        } catch (java.io.IOException silent) {
            return null;
        }
    }

    private List<String> states() {
        List<String> all = new ArrayList<>();
        NAMES.forEach(name -> all.add(state(name)));
        return all;
    }

    private String active() {
        List<String> now = states();
        Lab.check(Collections.frequency(now, "ACTIVE") < 2, "two managers are active");
        int at = now.indexOf("ACTIVE");
        return at < 0 ? null : NAMES.get(at);
    }

    private static String other(String name) {
        return NAMES.get(1 - NAMES.indexOf(name));
    }

    /** Returns when the manager has stored the application. */
    private void submit(int number) throws Exception {
        ApplicationSubmissionContext application = client.createApplication().getApplicationSubmissionContext();
        application.setApplicationName("number " + number);
        application.setResource(Resource.newInstance(512, 1));
        application.setAMContainerSpec(ContainerLaunchContext.newInstance(Map.of(), Map.of(), List.of("true"), Map.of(), null, Map.of()));
        submitted.put(number, client.submitApplication(application));
    }

    /** Only the active manager may make and remove nodes: it alone knows the password of the store's ACL. */
    private void locked() throws Exception {
        ZooKeeper stranger = new ZooKeeper(lab.connect, SESSION_MS, event -> { });
        try {
            Lab.await("the store is read", () -> stranger.exists("/rmstore/ZKRMStateRoot", false) != null);
            try {
                stranger.create("/rmstore/ZKRMStateRoot/mine", new byte[0], org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE,
                        org.apache.zookeeper.CreateMode.PERSISTENT);
                throw new AssertionError("a stranger writes into the store");
            } catch (KeeperException.NoAuthException refused) {
                lab.did("nobody but the active manager writes into the store");
            }
        } finally {
            stranger.close();
        }
    }

    private void killOne() throws Exception {
        ApplicationId some = submitted.get(Collections.min(submitted.keySet()));
        client.killApplication(some);
        Lab.await("the application is killed", () -> client.getApplicationReport(some).getYarnApplicationState() == YarnApplicationState.KILLED);
        lab.did("an application is killed");
    }

    private void takesOver(String next) throws Exception {
        Lab.await(next + " is active", () -> next.equals(active()));
    }

    private void activeDies(Writer writer) throws Exception {
        String old = active();
        Lab.kill(managers.get(old));
        takesOver(other(old));
        writer.goesOn();
        ApplicationId killed = submitted.get(Collections.min(submitted.keySet()));
        Lab.checkEquals(YarnApplicationState.KILLED, client.getApplicationReport(killed).getYarnApplicationState(), "what is known of the killed one");
        lab.did("the active manager died: " + other(old) + " has taken over with what is stored, applications are accepted");
        start(old);
        Lab.await(old + " stands by", () -> "STANDBY".equals(state(old)));
    }

    /** Who comes back from a pause believes to be active; the ACL of the store and the ended session tell it otherwise. */
    private void sessionExpires(Writer writer) throws Exception {
        String old = active();
        Lab.signal(managers.get(old), "STOP");
        try {
            takesOver(other(old));
            writer.goesOn();
        } finally {
            Lab.signal(managers.get(old), "CONT");
        }
        Lab.await(old + " stands by", () -> "STANDBY".equals(state(old)) && "ACTIVE".equals(state(other(old))));
        writer.goesOn();
        lab.did("a session expired: " + other(old) + " is active, and " + old + " stands by");
    }

    private void activeStops(Writer writer) throws Exception {
        String old = active();
        Lab.stop(managers.get(old));
        takesOver(other(old));
        writer.goesOn();
        start(old);
        Lab.await(old + " stands by", () -> "STANDBY".equals(state(old)));
        lab.did("the active manager was stopped while the ZooKeeper leader is dead: " + other(old) + " follows it");
    }

    private void known(Writer writer) throws Exception {
        Set<Integer> expected = writer.end();
        Set<ApplicationId> known = new TreeSet<>();
        for (ApplicationReport report : client.getApplications()) {
            known.add(report.getApplicationId());
        }
        Set<Integer> found = new TreeSet<>();
        ZooKeeper tree = new ZooKeeper(lab.connect, SESSION_MS, event -> { });
        try {
            Lab.await("the store is read", () -> tree.exists(STORE, false) != null);
            Set<String> stored = new TreeSet<>(tree.getChildren(STORE, false));
            for (int number : expected) {
                ApplicationId id = submitted.get(number);
                if (known.contains(id) && stored.contains(id.toString())) {
                    found.add(number);
                }
            }
        } finally {
            tree.close();
        }
        Lab.checkNothingLost(expected, found, "what is known and stored");
        lab.did(expected.size() + " applications were accepted (" + writer.refused() + " were refused meanwhile), and all of them are known and stored");
    }
}
