import java.net.URI;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.hbase.ClusterMetrics;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.NamespaceDescriptor;
import org.apache.hadoop.hbase.ServerName;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.apache.hadoop.hbase.replication.ReplicationPeerConfig;
import org.apache.hadoop.hbase.util.Bytes;
import org.apache.zookeeper.ZooKeeper;

/**
 * HBase with an active master, one in reserve and two region servers. Rows are put all the time, while the ZooKeeper leader dies, the active master
 * dies, a region server dies, and another misses its session; at the end each row that was acknowledged is scanned.
 */
public final class Work {
    private static final TableName ROWS = TableName.valueOf("rows");
    private static final byte[] FAMILY = Bytes.toBytes("f");
    private static final byte[] COLUMN = Bytes.toBytes("c");
    private static final int SESSION_MS = 10_000;
    private static final int REGIONS = 4;

    private final Lab lab;
    private final Map<String, Process> servers = new TreeMap<>();
    private final Map<String, Integer> ports = new TreeMap<>();
    private Connection connection;
    private Admin admin;

    private Work(Lab lab) {
        this.lab = lab;
    }

    public static void main(String[] arguments) {
        Lab.main(arguments, lab -> new Work(lab).run());
    }

    /** Files that hold what was written to them when their process is killed: Hadoop's own buffers each part until its checksum is full. */
    public static final class Files extends LocalFileSystem {
        @Override
        public void initialize(URI name, Configuration settings) throws java.io.IOException {
            super.initialize(name, settings);
            setWriteChecksum(false);
        }
    }

    private void run() throws Exception {
        for (String name : List.of("master-1", "master-2", "region-1", "region-2")) {
            ports.put(name, lab.port());
        }
        start("master-1");
        start("region-1");
        start("region-2");
        Configuration settings = HBaseConfiguration.create();
        settings().forEach(settings::set);
        settings.set("hbase.client.retries.number", "6");
        settings.set("hbase.rpc.timeout", "10000");
        settings.set("hbase.client.operation.timeout", "30000");
        settings.set("hbase.client.meta.operation.timeout", "30000");
        Lab.retry("a connection", () -> connection = ConnectionFactory.createConnection(settings));
        admin = connection.getAdmin();
        // Only one begins, so that it is known which of them is active.
        Lab.await("there is a master, and two region servers", () -> metrics().getServersName().size() == 2 && active().equals("master-1"));
        start("master-2");
        Lab.await("there is a master in reserve", () -> metrics().getBackupMasterNames().size() == 1);
        create(ROWS);
        lab.did("a master, one in reserve, two region servers, a table of " + REGIONS + " regions");
        try (Table rows = connection.getTable(ROWS); Writer writer = new Writer(number -> put(rows, number))) {
            writer.goesOn();
            lab.ask("kill-leader");
            TableName other = TableName.valueOf("other");
            create(other);
            work(other);
            writer.goesOn();
            lab.ask("restart");
            lab.did("the ZooKeeper leader died: a table is made, written and read, rows are taken");
            administration();
            masterDies(writer);
            regionServerDies(writer);
            sessionExpires(writer);
            lab.ask("kill-leader");
            delete(other);
            writer.goesOn();
            lab.ask("restart");
            for (String name : List.of("region-1", "region-2")) {
                Lab.stop(servers.get(name));
                Lab.await("one region server is there", () -> metrics().getServersName().size() == 1);
                start(name);
                whole();
            }
            lab.did("each region server was stopped in an orderly way and started again");
            scanAll(rows, writer);
        }
        tree();
    }

    private Map<String, String> settings() {
        Map<String, String> all = new LinkedHashMap<>();
        all.put("hbase.rootdir", lab.directory.resolve("hbase").toUri().toString());
        all.put("hbase.tmp.dir", lab.directory.resolve("tmp").toString());
        all.put("fs.file.impl", Files.class.getName());
        all.put("hbase.cluster.distributed", "true");
        all.put("hbase.unsafe.stream.capability.enforce", "false");
        all.put("hbase.wal.provider", "filesystem");
        all.put("hbase.zookeeper.quorum", lab.connect);
        all.put("zookeeper.session.timeout", Integer.toString(SESSION_MS));
        all.put("hbase.master.hostname", "localhost");
        all.put("hbase.unsafe.regionserver.hostname", "localhost");
        all.put("hbase.master.info.port", "-1");
        all.put("hbase.regionserver.info.port", "-1");
        all.put("hbase.regionserver.handler.count", "8");
        return all;
    }

    private void start(String name) throws Exception {
        boolean isMaster = name.startsWith("master");
        List<String> jvm = new ArrayList<>(List.of("-Xmx400m"));
        for (String part : List.of("java.lang", "java.lang.reflect", "java.nio", "java.util", "sun.nio.ch", "jdk.internal.ref")) {
            jvm.addAll(List.of("--add-opens", "java.base/" + part + "=ALL-UNNAMED"));
        }
        List<String> arguments = new ArrayList<>();
        settings().forEach((key, value) -> arguments.addAll(List.of("-D", key + "=" + value)));
        String port = isMaster ? "hbase.master.port" : "hbase.regionserver.port";
        arguments.addAll(List.of("-D", port + "=" + ports.get(name), "start"));
        String mainClass = isMaster ? "org.apache.hadoop.hbase.master.HMaster" : "org.apache.hadoop.hbase.regionserver.HRegionServer";
        servers.put(name, lab.start(name, jvm, mainClass, arguments.toArray(new String[0])));
    }

    private ClusterMetrics metrics() throws Exception {
        return admin.getClusterMetrics();
    }

    private String named(ServerName server) {
        return ports.entrySet().stream().filter(entry -> entry.getValue() == server.getPort()).map(Map.Entry::getKey).findFirst().orElse("nobody");
    }

    private String active() throws Exception {
        return named(metrics().getMasterName());
    }

    /** Everybody is there, and each region is served. */
    private void whole() throws Exception {
        Lab.await("two region servers are there, and no region is in transition", () -> {
            ClusterMetrics now = metrics();
            return now.getServersName().size() == 2 && now.getRegionStatesInTransition().isEmpty();
        });
    }

    private void create(TableName name) throws Exception {
        byte[][] splits = new byte[REGIONS - 1][];
        for (int i = 0; i < splits.length; i++) {
            splits[i] = Bytes.toBytes(Integer.toString((i + 1) * 10 / REGIONS));
        }
        Lab.retry("table " + name + " is made", () -> {
            if (!admin.tableExists(name)) {
                TableDescriptorBuilder table = TableDescriptorBuilder.newBuilder(name);
                table.setColumnFamily(ColumnFamilyDescriptorBuilder.newBuilder(FAMILY).setScope(1).build());
                admin.createTable(table.build(), splits);
            }
        });
        Lab.await("table " + name + " is served", () -> admin.isTableAvailable(name));
    }

    /** Spread over the regions: the last digit leads. */
    private static byte[] row(int number) {
        return Bytes.toBytes(number % 10 + "-" + number);
    }

    private static void put(Table table, int number) throws Exception {
        table.put(new Put(row(number)).addColumn(FAMILY, COLUMN, Bytes.toBytes(number)));
    }

    private static Set<Integer> scan(Table table) throws Exception {
        Set<Integer> found = new TreeSet<>();
        try (ResultScanner all = table.getScanner(new Scan().setCaching(1000))) {
            for (Result row : all) {
                found.add(Bytes.toInt(row.getValue(FAMILY, COLUMN)));
            }
        }
        return found;
    }

    private void work(TableName name) throws Exception {
        try (Table table = connection.getTable(name)) {
            for (int number = 0; number < 20; number++) {
                put(table, number);
            }
            Lab.checkEquals(13, Bytes.toInt(table.get(new Get(row(13))).getValue(FAMILY, COLUMN)), "a row that is read");
            Lab.checkEquals(20, scan(table).size(), "rows that are scanned");
        }
    }

    /** What goes by ZooKeeper: flushes and snapshots of a table are agreed there, peers and what they have yet to get are kept there. */
    private void administration() throws Exception {
        admin.flush(ROWS);
        admin.snapshot("moment", ROWS);
        Lab.checkEquals(1, admin.listSnapshots().size(), "snapshots");
        TableName copy = TableName.valueOf("copy");
        admin.cloneSnapshot("moment", copy);
        try (Table table = connection.getTable(copy)) {
            Lab.check(scan(table).size() > 0, "the copy from a snapshot is empty");
        }
        delete(copy);
        admin.createNamespace(NamespaceDescriptor.create("space").build());
        admin.addColumnFamily(ROWS, ColumnFamilyDescriptorBuilder.of("g"));
        lab.did("a flush, a snapshot, a copy from it, a namespace, a column family");
        ReplicationPeerConfig peer = ReplicationPeerConfig.newBuilder().setClusterKey(lab.connect.replaceAll(":\\d+", "") + ":"
                + lab.connect.replaceAll(".*:", "") + ":/elsewhere").build();
        admin.addReplicationPeer("elsewhere", peer, false);
        Collection<ServerName> all = metrics().getServersName();
        for (ServerName server : all) {
            admin.rollWALWriter(server);
        }
        Lab.checkEquals(1, admin.listReplicationPeers().size(), "peers");
        lab.did("a peer that is switched off: what it has yet to get is kept");
    }

    private void masterDies(Writer writer) throws Exception {
        Lab.kill(servers.get("master-1"));
        Lab.await("the master in reserve is active", () -> active().equals("master-2"));
        TableName name = TableName.valueOf("made-by-the-other-master");
        create(name);
        work(name);
        writer.goesOn();
        start("master-1");
        Lab.await("there is a master in reserve", () -> metrics().getBackupMasterNames().size() == 1);
        lab.did("the active master died: the other makes a table, rows are taken");
    }

    private void regionServerDies(Writer writer) throws Exception {
        Lab.kill(servers.get("region-1"));
        Lab.await("one region server is there, and serves all", () -> {
            ClusterMetrics now = metrics();
            return now.getServersName().size() == 1 && now.getRegionStatesInTransition().isEmpty() && admin.isTableAvailable(ROWS);
        });
        writer.goesOn();
        start("region-1");
        whole();
        admin.removeReplicationPeer("elsewhere");
        lab.did("a region server died: the other serves its regions, rows are taken");
    }

    /** A region server that was taken for dead has to end itself. */
    private void sessionExpires(Writer writer) throws Exception {
        Process silent = servers.get("region-2");
        Lab.signal(silent, "STOP");
        try {
            Lab.await("one region server is there", () -> metrics().getServersName().size() == 1);
            writer.goesOn();
        } finally {
            Lab.signal(silent, "CONT");
        }
        Lab.check(silent.waitFor(Lab.PATIENCE_SECONDS, TimeUnit.SECONDS), "the region server that was taken for dead ends");
        start("region-2");
        whole();
        lab.did("a session expired: the region server ended itself, the other served its regions");
    }

    private void delete(TableName name) throws Exception {
        Lab.retry(name + " is deleted", () -> {
            if (admin.isTableEnabled(name)) {
                admin.disableTable(name);
            }
            if (admin.tableExists(name)) {
                admin.deleteTable(name);
            }
        });
        Lab.check(!admin.tableExists(name), "the deleted table is there");
    }

    private void scanAll(Table rows, Writer writer) throws Exception {
        Set<Integer> expected = writer.end();
        Lab.checkNothingLost(expected, scan(rows), "the table");
        lab.did(expected.size() + " rows were acknowledged (" + writer.refused() + " were refused meanwhile), and all of them are scanned");
    }

    /** What HBase keeps in the tree. */
    private void tree() throws Exception {
        ZooKeeper client = new ZooKeeper(lab.connect, SESSION_MS, event -> { });
        try {
            Lab.retry("the tree is read", () -> {
                List<String> regions = client.getChildren("/hbase/rs", false);
                Lab.checkEquals(2, regions.size(), "region servers in the tree, " + regions);
                Lab.checkEquals(1, client.getChildren("/hbase/backup-masters", false).size(), "masters in reserve in the tree");
                Lab.checkEquals(List.of(), client.getChildren("/hbase/replication/peers", false), "peers in the tree");
                Lab.check(Arrays.toString(client.getData("/hbase/master", false, null)).length() > 2, "no master in the tree");
            });
        } finally {
            client.close();
        }
        lab.did("the tree holds two region servers, two masters, no peer");
    }
}
