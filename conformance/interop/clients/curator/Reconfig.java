import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.CuratorEvent;
import org.apache.curator.framework.api.CuratorEventType;
import org.apache.curator.framework.api.CuratorWatcher;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.quorum.flexible.QuorumVerifier;

/**
 * What users of Curator do with the members of an ensemble: read, watch and track the list, and change it in every way that there is. At
 * the end the members are those of the beginning.
 *
 * <p>The arguments are the connect string of three members; their lines {@code server.N=…}, parted by commas; the line of a server that
 * runs and is no member; the id of who leads; and a server without reconfigEnabled. {@code super:secret} has all rights.
 */
public final class Reconfig {
    private static final String CONFIG = "/zookeeper/config";

    private final List<String> servers;
    private final List<String> members;
    private final String joiner;
    private final String follower;
    /** Who changes the members; who follows the list, by Curator's own tracker and by a watch, and has no rights. */
    private final CuratorFramework ann;

    private final CuratorFramework bob;
    private final BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();

    private Reconfig(String servers, String members, String joiner, String leader) throws Exception {
        this.servers = Arrays.asList(servers.split(","));
        this.members = Arrays.asList(members.split(","));
        this.joiner = joiner;
        ann = Work.connect(servers, "super:secret", false);
        follower = member(leader, false);
        bob = Work.connect(client(follower), "bob:secret", true);
    }

    public static void main(String[] arguments) {
        Work.exitWith(() -> {
            Reconfig reconfig = new Reconfig(arguments[0], arguments[1], arguments[2], arguments[3]);
            // The first list gets its version behind the first election.
            Work.eventually("the list has a version", () -> version(reconfig.ann.getConfig().forEnsemble()) != 0);
            reconfig.refusals();
            reconfig.changes();
            reconfig.leaderGoes(reconfig.member(arguments[3], true));
            try (CuratorFramework off = Work.connect(arguments[4], "super:secret", false)) {
                Work.refused(KeeperException.ReconfigDisabledException.class, "reconfig where it is disabled",
                        () -> off.reconfig().joining(arguments[2]).forEnsemble());
            }
            return null;
        });
    }

    private static String text(byte[] data) {
        return new String(data, StandardCharsets.UTF_8);
    }

    private static long version(byte[] data) {
        String text = text(data);
        return Long.parseLong(text.substring(text.lastIndexOf("\nversion=") + "\nversion=".length()), 16);
    }

    private static String id(String member) {
        return member.substring("server.".length(), member.indexOf('='));
    }

    private static String client(String member) {
        return member.substring(member.indexOf(';') + 1);
    }

    /** The first member that is the leader, or is not. */
    private String member(String leader, boolean leads) {
        return members.stream().filter(member -> id(member).equals(leader) == leads).findFirst().get();
    }

    private static String list(List<String> members) {
        List<String> sorted = new ArrayList<>(members);
        Collections.sort(sorted);
        return String.join("\n", sorted);
    }

    private List<String> and(String other) {
        List<String> all = new ArrayList<>(members);
        all.add(other);
        return all;
    }

    private static List<String> without(List<String> members, String gone) {
        List<String> left = new ArrayList<>(members);
        left.remove(gone);
        return left;
    }

    /** The answer is this list, and its Stat is that of the node, whose last change is another time on each of ZooKeeper's; its version. */
    private static long shows(byte[] data, Stat stat, List<String> members) {
        long version = version(data);
        String want = list(members) + "\nversion=" + Long.toHexString(version);
        Work.check(text(data).equals(want), "the list " + text(data) + " is " + want);
        Stat of = new Stat(0, version, 0, stat.getMtime(), -1, 0, -1, 0, data.length, 0, 0);
        Work.check(stat.equals(of), "the Stat " + stat + " is " + of);
        return version;
    }

    private void shownBy(List<String> servers, List<String> members) throws Exception {
        for (String server : servers) {
            try (CuratorFramework client = Work.connect(server, "bob:secret", false)) {
                Work.eventually(server + " shows " + members, () -> {
                    client.sync().forPath(CONFIG);
                    return text(client.getConfig().forEnsemble()).startsWith(list(members) + "\nversion=");
                });
                Stat stat = new Stat();
                shows(client.getConfig().storingStatIn(stat).forEnsemble(), stat, members);
            }
        }
    }

    private void refusals() throws Exception {
        Stat stat = new Stat();
        long version = shows(ann.getConfig().storingStatIn(stat).forEnsemble(), stat, members);
        try (CuratorFramework wrong = Work.connect(servers.get(0), "super:wrong", false)) {
            for (CuratorFramework client : Arrays.asList(bob, wrong)) {
                Work.refused(KeeperException.NoAuthException.class, "reconfig without rights",
                        () -> client.reconfig().joining(joiner).forEnsemble());
            }
        }
        Work.refused(KeeperException.BadVersionException.class, "reconfig from a version to come",
                () -> ann.reconfig().joining(joiner).fromConfig(version + 1).forEnsemble());
        Work.refused(KeeperException.BadVersionException.class, "a whole list from an old version",
                () -> ann.reconfig().withNewMembers(members).fromConfig(version - 1).forEnsemble());
        Class<? extends Exception> bad = KeeperException.BadArgumentsException.class;
        for (String line : Arrays.asList("some thing", "server.9=127.0.0.1:1:2")) {
            Work.refused(bad, "a joiner " + line, () -> ann.reconfig().joining(line).forEnsemble());
        }
        Work.refused(bad, "a list of nonsense", () -> ann.reconfig().withNewMembers("some thing").forEnsemble());
        Work.refused(bad, "a list of one",
                () -> ann.reconfig().leaving(id(members.get(1)), id(members.get(2))).forEnsemble());
        List<String> away = Arrays.asList(
                "server.7=127.0.0.1:7:17;27", "server.8=127.0.0.1:8:18;28", "server.9=127.0.0.1:9:19;29");
        Class<? extends Exception> none = KeeperException.NewConfigNoQuorum.class;
        Work.refused(none, "a list without a quorum", () -> ann.reconfig().withNewMembers(away).forEnsemble());
        Work.refused(none, "joiners without a quorum",
                () -> ann.reconfig().joining(away).leaving(id(members.get(0))).forEnsemble());
        Work.check(version(ann.getConfig().forEnsemble()) == version, "a refused change changes nothing");
    }

    /** Carries out a change: its answer is the list of which watch and tracker tell. */
    private long changed(List<String> members, Change change) throws Exception {
        CuratorWatcher watcher = event -> {
            if (event.getType() != Watcher.Event.EventType.None) {
                events.add(event);
            }
        };
        bob.getConfig().usingWatcher(watcher).forEnsemble();
        Stat stat = new Stat();
        byte[] answer = change.into(stat);
        long version = shows(answer, stat, members);
        WatchedEvent event = events.poll(60, TimeUnit.SECONDS);
        Work.check(event != null && event.getType() == Watcher.Event.EventType.NodeDataChanged, "the watch tells " + event);
        Work.check(event.getPath().equals(CONFIG), "the watch is of the list: " + event);
        Stat seen = new Stat();
        byte[] data = bob.getConfig().storingStatIn(seen).forEnsemble();
        shows(data, seen, members);
        Work.check(Arrays.equals(data, answer), "the list is " + text(data) + ", as answered");
        Set<String> clients = new HashSet<>();
        members.forEach(member -> clients.add(client(member)));
        Work.eventually("the tracker leads to " + clients, () -> {
            QuorumVerifier config = bob.getCurrentConfig();
            String now = bob.getZookeeperClient().getCurrentConnectionString();
            return config.getVersion() == version && new HashSet<>(Arrays.asList(now.split(","))).equals(clients);
        });
        return version;
    }

    private interface Change {
        byte[] into(Stat stat) throws Exception;
    }

    private void changes() throws Exception {
        List<String> everybody = new ArrayList<>(servers);
        everybody.add(client(joiner));
        long before = version(ann.getConfig().forEnsemble());
        long joined = changed(and(joiner), stat -> ann.reconfig().joining(joiner).storingStatIn(stat).fromConfig(before).forEnsemble());
        Work.check(joined > before, "versions go up");
        shownBy(everybody, and(joiner));
        Work.refused(KeeperException.BadVersionException.class, "reconfig from an old version",
                () -> ann.reconfig().leaving(id(joiner)).fromConfig(before).forEnsemble());
        changed(members, stat -> {
            BlockingQueue<CuratorEvent> answers = new LinkedBlockingQueue<>();
            ann.reconfig().inBackground((client, event) -> answers.add(event)).leaving(id(joiner)).storingStatIn(stat).forEnsemble();
            CuratorEvent answer = answers.poll(60, TimeUnit.SECONDS);
            Work.check(answer != null && answer.getType() == CuratorEventType.RECONFIG, "the answer is " + answer);
            Work.check(answer.getResultCode() == KeeperException.Code.OK.intValue(), "the answer is " + answer);
            return answer.getData();
        });

        // One comes for another: the answer is that of the server that goes. Its clients stay, but those that are told of the others.
        ZooKeeper ofBob = bob.getZookeeperClient().getZooKeeper();
        long sessionOfBob = ofBob.getSessionId();
        List<String> others = without(members, follower);
        List<String> exchanged = new ArrayList<>(others);
        exchanged.add(joiner);
        try (CuratorFramework client = Work.connect(client(follower), "super:secret", false)) {
            long session = client.getZookeeperClient().getZooKeeper().getSessionId();
            changed(exchanged, stat -> client.reconfig().leaving(id(follower)).joining(joiner).storingStatIn(stat).forEnsemble());
            Work.check(client.checkExists().forPath("/") != null, "the server that has gone answers");
            Work.check(client.getZookeeperClient().getZooKeeper().getSessionId() == session, "in the same session");
        }
        ofBob.updateServerList(bob.getZookeeperClient().getCurrentConnectionString());
        String gone = ":" + client(follower).split(":")[1] + " ";
        Work.eventually("a client leaves " + gone, () -> {
            boolean reads = bob.checkExists().forPath("/") != null;
            return reads && !ofBob.toString().contains(gone) && ofBob.getState().isConnected();
        });
        Work.check(ofBob.getSessionId() == sessionOfBob, "it moves in its session");

        // The whole list, which does not look at the one before.
        long version = changed(members, stat -> ann.reconfig().withNewMembers(members).storingStatIn(stat).forEnsemble());
        List<String> watching = and(joiner.replace(":participant", ":observer"));
        changed(watching, stat -> ann.reconfig().withNewMembers(watching).storingStatIn(stat).fromConfig(version).forEnsemble());
        shownBy(everybody, watching);
        Work.check(bob.getCurrentConfig().getObservingMembers().size() == 1, "the tracker knows an observer");
        changed(members, stat -> ann.reconfig().leaving(id(joiner)).storingStatIn(stat).forEnsemble());
        shownBy(servers, members);
    }

    /** Changes the members although leaders come and go meanwhile: an answer may be lost, and who just came may not be ready. */
    private void settle(List<String> members, Callable<?> change) throws Exception {
        Work.eventually("the members " + members, () -> {
            try {
                if (text(ann.getConfig().forEnsemble()).startsWith(list(members) + "\nversion=")) {
                    return true;
                }
                change.call();
            } catch (KeeperException.NewConfigNoQuorum | KeeperException.ReconfigInProgress | KeeperException.ConnectionLossException
                    | KeeperException.SessionExpiredException notYet) {
                return false;
            }
            return false;
        });
    }

    private void leaderGoes(String leader) throws Exception {
        settle(without(members, leader), () -> ann.reconfig().leaving(id(leader)).forEnsemble());
        ann.create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath("/curator-reconfig-");
        settle(members, () -> ann.reconfig().joining(leader).forEnsemble());
        shownBy(servers, members);
    }
}
