import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.apache.solr.client.solrj.SolrClient;
import org.apache.solr.client.solrj.SolrQuery;
import org.apache.solr.client.solrj.SolrRequest;
import org.apache.solr.client.solrj.impl.CloudSolrClient;
import org.apache.solr.client.solrj.impl.Http2SolrClient;
import org.apache.solr.client.solrj.request.CollectionAdminRequest;
import org.apache.solr.client.solrj.request.GenericSolrRequest;
import org.apache.solr.client.solrj.request.schema.SchemaRequest;
import org.apache.solr.common.SolrDocument;
import org.apache.solr.common.SolrInputDocument;
import org.apache.solr.common.cloud.DocCollection;
import org.apache.solr.common.cloud.Replica;
import org.apache.solr.common.cloud.SolrZkClient;
import org.apache.solr.embedded.JettyConfig;
import org.apache.solr.embedded.JettySolrRunner;

/**
 * SolrCloud with three nodes: config sets, collections with two replicas of each shard, aliases, properties, a schema that changes. Documents are
 * added all the time, while the ZooKeeper leader dies, the overseer dies, and a node misses its session; at the end each document that was
 * acknowledged is found, in each replica.
 */
public final class Work {
    private static final String BOOKS = "books";
    private static final int NODES = 3;
    private static final int SHARDS = 2;
    private static final int REPLICAS = 2;
    private static final int SESSION_MS = 10_000;
    /** More than ZooKeeper's own limit for a request, as config sets with dictionaries are. */
    private static final int SYNONYMS = 60_000;
    private static final int JUTE_BYTES = 10 * 1024 * 1024;

    private final Lab lab;
    private final int[] ports = new int[NODES + 1];
    private final Map<Integer, Process> nodes = new TreeMap<>();
    private CloudSolrClient client;
    /** For documents and questions: a node that does not answer is given up soon. */
    private CloudSolrClient brisk;

    private Work(Lab lab) {
        this.lab = lab;
    }

    public static void main(String[] arguments) {
        System.setProperty("jute.maxbuffer", Integer.toString(JUTE_BYTES));
        Lab.main(arguments, lab -> new Work(lab).run());
    }

    /** A node: its home, its port, and where ZooKeeper is. */
    public static final class Node {
        public static void main(String[] arguments) throws Exception {
            System.setProperty("zkHost", arguments[2]);
            System.setProperty("hostPort", arguments[1]);
            JettyConfig config = new JettyConfig.Builder().setContext("/solr").setPort(Integer.parseInt(arguments[1])).build();
            JettySolrRunner node = new JettySolrRunner(arguments[0], config);
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                try {
                    node.stop();
                } catch (Exception late) {
                    late.printStackTrace();
                }
            }));
            node.start();
            Thread.currentThread().join();
        }
    }

    private void run() throws Exception {
        configSet();
        for (int id = 1; id <= NODES; id++) {
            ports[id] = lab.port();
            start(id);
        }
        client = client(Lab.PATIENCE_SECONDS);
        brisk = client(15);
        Lab.await("three nodes are there", () -> live().size() == NODES);
        create(BOOKS);
        lab.did("three nodes, a config set of more than a megabyte, a collection of two shards with two replicas");
        try (Writer writer = new Writer(this::add)) {
            writer.goesOn();
            status(true);
            lab.ask("kill-leader");
            create("made-without-the-old-leader");
            writer.goesOn();
            status(false);
            lab.ask("restart");
            Lab.retry("all servers are seen", () -> status(true));
            lab.did("the ZooKeeper leader died: a collection is made, documents are taken, and Solr's page on ZooKeeper tells who is dead");
            settings();
            schema();
            overseerDies(writer);
            sessionExpires(writer);
            lab.ask("kill-leader");
            delete();
            writer.goesOn();
            lab.ask("restart");
            findAll(writer);
        }
    }

    private CloudSolrClient client(int seconds) {
        Http2SolrClient.Builder patience = new Http2SolrClient.Builder().withConnectionTimeout(5, TimeUnit.SECONDS)
                .withIdleTimeout(seconds, TimeUnit.SECONDS).withRequestTimeout(seconds, TimeUnit.SECONDS);
        List<String> servers = Arrays.asList(lab.connect.split(","));
        return new CloudSolrClient.Builder(servers, Optional.of("/solr")).withInternalClientBuilder(patience).build();
    }

    private void configSet() throws Exception {
        Path folder = lab.directory.resolve("conf");
        Files.createDirectories(folder);
        for (String name : List.of("solrconfig.xml", "managed-schema.xml")) {
            Files.copy(lab.source.resolve("conf").resolve(name), folder.resolve(name));
        }
        StringBuilder synonyms = new StringBuilder();
        for (int i = 0; i < SYNONYMS; i++) {
            synonyms.append("word").append(i).append(",other").append(i).append('\n');
        }
        Files.writeString(folder.resolve("synonyms.txt"), synonyms);
        try (SolrZkClient root = zooKeeper("")) {
            root.makePath("/solr", true);
        }
        try (SolrZkClient solr = zooKeeper("/solr")) {
            solr.upConfig(folder, "lab");
            int bytes = solr.getData("/configs/lab/synonyms.txt", null, null, true).length;
            Lab.checkEquals(synonyms.length(), bytes, "bytes of the synonyms");
        }
    }

    private SolrZkClient zooKeeper(String root) {
        return new SolrZkClient.Builder().withUrl(lab.connect + root).withTimeout(SESSION_MS, TimeUnit.MILLISECONDS)
                .withConnTimeOut(Lab.PATIENCE_SECONDS, TimeUnit.SECONDS).build();
    }

    private void start(int id) throws Exception {
        String home = "home-" + id;
        lab.write(home + "/solr.xml", "<solr><int name=\"maxBooleanClauses\">1024</int><solrcloud>"
                + "<str name=\"host\">127.0.0.1</str><str name=\"hostContext\">solr</str><int name=\"hostPort\">" + ports[id] + "</int>"
                + "<int name=\"zkClientTimeout\">" + SESSION_MS + "</int><int name=\"distribUpdateSoTimeout\">15000</int>"
                + "<int name=\"distribUpdateConnTimeout\">5000</int></solrcloud></solr>");
        List<String> jvm = List.of("-Xmx448m", "-Djute.maxbuffer=" + JUTE_BYTES,
                "-Dsolr.log.dir=" + lab.directory);
        String path = lab.directory.resolve(home).toString();
        nodes.put(id, lab.start("node-" + id, jvm, "Work$Node", path, Integer.toString(ports[id]), lab.connect + "/solr"));
    }

    private Set<String> live() throws Exception {
        return client.getClusterStateProvider().getLiveNodes();
    }

    private void create(String name) throws Exception {
        Lab.retry("collection " + name + " is made", () -> {
            if (!CollectionAdminRequest.listCollections(client).contains(name)) {
                CollectionAdminRequest.createCollection(name, "lab", SHARDS, REPLICAS).process(client);
            }
        });
        active(name);
    }

    private void active(String name) throws Exception {
        Lab.await("all replicas of " + name + " are active", () -> {
            DocCollection state = client.getClusterState().getCollection(name);
            Set<String> live = live();
            List<Replica> all = state.getReplicas();
            return all.size() == SHARDS * REPLICAS && all.stream().allMatch(replica -> replica.isActive(live))
                    && state.getSlices().stream().allMatch(shard -> shard.getLeader() != null);
        });
    }

    private void add(int number) throws Exception {
        SolrInputDocument document = new SolrInputDocument();
        document.addField("id", Integer.toString(number));
        document.addField("words", "book word" + number);
        brisk.add(BOOKS, document);
    }

    /** Solr's own page about ZooKeeper, which asks each server for ruok, mntr and conf. */
    private void status(boolean whole) throws Exception {
        GenericSolrRequest ask = new GenericSolrRequest(SolrRequest.METHOD.GET, "/admin/zookeeper/status");
        Map<?, ?> status = (Map<?, ?>) client.request(ask).asMap(9).get("zkStatus");
        Object complaints = status.get("errors");
        Lab.checkEquals("ensemble", status.get("mode"), "mode on Solr's page about ZooKeeper");
        Lab.checkEquals(whole ? "green" : "yellow", status.get("status"), "status on Solr's page, with errors " + complaints);
        if (whole) {
            List<?> details = (List<?>) status.get("details");
            Lab.checkEquals(NODES, details.size(), "servers on Solr's page");
            for (Object server : details) {
                Map<?, ?> facts = (Map<?, ?>) server;
                Lab.checkEquals(true, facts.get("ok"), "ok in " + facts);
                for (String fact : List.of("zk_version", "zk_znode_count", "zk_server_state", "clientPort", "dataDir", "serverId")) {
                    Lab.check(facts.get(fact) != null, fact + " is not told: " + facts);
                }
            }
        }
    }

    /** An alias, and properties of the cluster and of a collection: nodes that are changed by their version. */
    private void settings() throws Exception {
        CollectionAdminRequest.createAlias("alias", BOOKS).process(client);
        Lab.await("the alias is followed", () -> client.query("alias", new SolrQuery("*:*")).getStatus() == 0);
        CollectionAdminRequest.setClusterProperty("ext.lab", "on").process(client);
        CollectionAdminRequest.setCollectionProperty(BOOKS, "lab", "on").process(client);
        try (SolrZkClient solr = zooKeeper("/solr")) {
            for (String path : List.of("/clusterprops.json", "/collections/" + BOOKS + "/collectionprops.json")) {
                Lab.await(path + " holds it", () -> new String(solr.getData(path, null, null, true)).contains("lab"));
            }
        }
        lab.did("an alias, a property of the cluster and one of a collection");
    }

    /** A field more: the schema is written by its version, and each replica takes it over by its watch. */
    private void schema() throws Exception {
        Map<String, Object> field = Map.of("name", "colour", "type", "string", "stored", true);
        new SchemaRequest.AddField(field).process(client, BOOKS);
        Lab.retry("a document with the new field is taken", () -> {
            SolrInputDocument document = new SolrInputDocument();
            document.addField("id", "red");
            document.addField("colour", "red");
            client.add(BOOKS, document);
        });
        client.commit(BOOKS);
        Lab.await("it is found", () -> client.query(BOOKS, new SolrQuery("colour:red")).getResults().getNumFound() == 1);
        lab.did("a new field of the schema reaches each replica");
    }

    private int overseer() throws Exception {
        String name = (String) CollectionAdminRequest.getOverseerStatus().process(brisk).getResponse().get("leader");
        for (int id = 1; id <= NODES; id++) {
            if (name != null && name.contains(":" + ports[id] + "_")) {
                return id;
            }
        }
        return -1;
    }

    private int otherOverseer(int old) throws Exception {
        int[] now = {-1};
        Lab.await("another node is the overseer", () -> {
            now[0] = overseer();
            return now[0] > 0 && now[0] != old && live().size() == NODES - 1;
        });
        Lab.await("each shard is led by a node that lives", () -> {
            Set<String> live = live();
            return client.getClusterState().getCollection(BOOKS).getSlices().stream()
                    .allMatch(shard -> shard.getLeader() != null && shard.getLeader().isActive(live));
        });
        return now[0];
    }

    private void overseerDies(Writer writer) throws Exception {
        int old = overseer();
        Lab.kill(nodes.get(old));
        int next = otherOverseer(old);
        writer.goesOn();
        lab.did("overseer " + old + " died: " + next + " follows it, each shard has a leader, documents are taken");
        start(old);
        Lab.await("three nodes are there", () -> live().size() == NODES);
        active(BOOKS);
        lab.did("the dead node is back, its replicas are active");
    }

    private void sessionExpires(Writer writer) throws Exception {
        int old = overseer();
        Lab.signal(nodes.get(old), "STOP");
        int next;
        try {
            next = otherOverseer(old);
            writer.goesOn();
        } finally {
            Lab.signal(nodes.get(old), "CONT");
        }
        Lab.await("three nodes are there", () -> live().size() == NODES);
        active(BOOKS);
        lab.did("a session expired: " + next + " is the overseer, and the node registered again");
    }

    private void delete() throws Exception {
        String name = "made-without-the-old-leader";
        Lab.retry("a collection is deleted", () -> {
            if (CollectionAdminRequest.listCollections(client).contains(name)) {
                CollectionAdminRequest.deleteCollection(name).process(client);
            }
        });
        try (SolrZkClient solr = zooKeeper("/solr")) {
            Lab.await("its nodes are gone", () -> !solr.exists("/collections/" + name, true));
        }
        lab.did("a collection is deleted while the ZooKeeper leader is dead");
    }

    /** Each replica alone is asked, so that none hides behind another. */
    private void findAll(Writer writer) throws Exception {
        Set<Integer> expected = writer.end();
        active(BOOKS);
        client.commit(BOOKS);
        for (int copy = 0; copy < REPLICAS; copy++) {
            Set<Integer> found = new TreeSet<>();
            for (var shard : client.getClusterState().getCollection(BOOKS).getSlices()) {
                Replica replica = new ArrayList<>(shard.getReplicas()).get(copy);
                found.addAll(numbers(replica));
            }
            Lab.checkNothingLost(expected, found, "replica " + copy + " of each shard");
        }
        SolrQuery synonym = new SolrQuery("words:other" + expected.iterator().next());
        Lab.checkEquals(1L, client.query(BOOKS, synonym).getResults().getNumFound(), "documents found by a synonym");
        lab.did(expected.size() + " documents were acknowledged (" + writer.refused()
                + " were refused meanwhile), and each replica has all of its own");
    }

    private static Set<Integer> numbers(Replica replica) throws Exception {
        SolrQuery query = new SolrQuery("*:*").setRows(1_000_000).setFields("id").setParam("distrib", "false");
        Set<Integer> found = new TreeSet<>();
        try (SolrClient core = new Http2SolrClient.Builder(replica.getBaseUrl()).build()) {
            for (SolrDocument document : core.query(replica.getCoreName(), query).getResults()) {
                String id = (String) document.getFieldValue("id");
                if (!"red".equals(id)) {
                    found.add(Integer.valueOf(id));
                }
            }
        }
        return found;
    }
}
