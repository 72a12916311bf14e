import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.IntegerDeserializer;
import org.apache.kafka.common.serialization.IntegerSerializer;
import org.apache.zookeeper.ZooKeeper;

/**
 * Kafka with three brokers that keep their state in ZooKeeper: controller, topics, settings, ACLs, SCRAM users. A producer goes on all the time,
 * while the ZooKeeper leader dies, the controller dies, and a broker misses its session; at the end each record that was acknowledged is read.
 */
public final class Work {
    private static final String TOPIC = "records";
    private static final int PARTITIONS = 6;
    private static final int BROKERS = 3;
    private static final int SESSION_MS = 6000;
    private static final ConfigResource RECORDS = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);

    private final Lab lab;
    private final Map<Integer, Process> brokers = new TreeMap<>();
    private final int[] open = new int[BROKERS + 1];
    private final int[] guarded = new int[BROKERS + 1];
    private Admin admin;

    private Work(Lab lab) {
        this.lab = lab;
    }

    public static void main(String[] arguments) {
        Lab.main(arguments, lab -> new Work(lab).run());
    }

    private void run() throws Exception {
        for (int id = 1; id <= BROKERS; id++) {
            open[id] = lab.port();
            guarded[id] = lab.port();
        }
        for (int id = 1; id <= BROKERS; id++) {
            start(id);
        }
        admin = Admin.create(client(open));
        Lab.await("three brokers are there", () -> nodes().size() == BROKERS);
        create(TOPIC);
        create("gone");
        lab.did("three brokers, a controller and two topics");
        try (KafkaProducer<Integer, Integer> producer = producer();
                Writer writer = new Writer(number -> send(producer, number))) {
            writer.goesOn();
            lab.ask("kill-leader");
            create("made-without-the-old-leader");
            writer.goesOn();
            lab.did("the ZooKeeper leader died: a topic is made, records are taken");
            lab.ask("restart");
            settings();
            administration();
            users();
            controllerDies(writer);
            sessionExpires(writer);
            lab.ask("kill-leader");
            delete();
            writer.goesOn();
            lab.ask("restart");
            for (int id = 1; id <= BROKERS; id++) {
                Lab.stop(brokers.get(id));
                start(id);
                allInSync();
            }
            lab.did("each broker was stopped in an orderly way and started again");
            writer.goesOn();
            readBack(writer);
        }
        tree();
    }

    private void start(int id) throws Exception {
        Path logs = lab.directory.resolve("logs-" + id);
        String settings = String.join("\n",
                "broker.id=" + id,
                "listeners=PLAINTEXT://127.0.0.1:" + open[id] + ",SASL_PLAINTEXT://127.0.0.1:" + guarded[id],
                "inter.broker.listener.name=PLAINTEXT",
                "sasl.enabled.mechanisms=SCRAM-SHA-256",
                "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config="
                        + "org.apache.kafka.common.security.scram.ScramLoginModule required;",
                "authorizer.class.name=kafka.security.authorizer.AclAuthorizer",
                "super.users=User:ANONYMOUS",
                "zookeeper.connect=" + lab.connect + "/kafka",
                "zookeeper.session.timeout.ms=" + SESSION_MS,
                "log.dirs=" + logs,
                "auto.create.topics.enable=false",
                "default.replication.factor=3",
                "min.insync.replicas=2",
                "offsets.topic.replication.factor=3",
                "offsets.topic.num.partitions=3",
                "transaction.state.log.replication.factor=3",
                "auto.leader.rebalance.enable=false",
                "group.initial.rebalance.delay.ms=0",
                "");
        Path config = lab.write("broker-" + id + ".properties", settings);
        List<String> jvm = List.of("-Xmx320m");
        brokers.put(id, lab.start("broker-" + id, jvm, "kafka.Kafka", config.toString()));
    }

    private Properties client(int[] ports) {
        List<String> all = new ArrayList<>();
        for (int id = 1; id <= BROKERS; id++) {
            all.add("127.0.0.1:" + ports[id]);
        }
        Properties settings = new Properties();
        settings.put("bootstrap.servers", String.join(",", all));
        settings.put("default.api.timeout.ms", "20000");
        settings.put("request.timeout.ms", "10000");
        return settings;
    }

    private Collection<Node> nodes() throws Exception {
        return admin.describeCluster().nodes().get();
    }

    private int controller() throws Exception {
        Node node = admin.describeCluster().controller().get();
        return node == null ? -1 : node.id();
    }

    private void create(String topic) throws Exception {
        Lab.retry("topic " + topic + " is made", () -> {
            if (!admin.listTopics().names().get().contains(topic)) {
                admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) BROKERS))).all().get();
            }
        });
        Lab.await("each partition of " + topic + " has a leader and three replicas in sync", () -> inSync(topic));
    }

    private Map<Integer, TopicPartitionInfo> partitions(String topic) throws Exception {
        TopicDescription description = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        Map<Integer, TopicPartitionInfo> all = new TreeMap<>();
        description.partitions().forEach(partition -> all.put(partition.partition(), partition));
        return all;
    }

    private boolean inSync(String topic) throws Exception {
        return partitions(topic).values().stream().allMatch(p -> p.leader() != null && p.isr().size() == BROKERS);
    }

    private void allInSync() throws Exception {
        Lab.await("three brokers are there", () -> nodes().size() == BROKERS);
        Lab.await("each partition has three replicas in sync", () -> inSync(TOPIC));
    }

    /** The setting of a topic reaches every broker through a notification in the tree. */
    private void settings() throws Exception {
        AlterConfigOp larger = new AlterConfigOp(new ConfigEntry("max.message.bytes", "123456"), AlterConfigOp.OpType.SET);
        Lab.retry("a setting is changed", () -> admin.incrementalAlterConfigs(Map.of(RECORDS, List.of(larger))).all().get());
        Lab.await("the setting is told", () -> {
            String value = admin.describeConfigs(List.of(RECORDS)).all().get().get(RECORDS).get("max.message.bytes").value();
            return "123456".equals(value);
        });
        lab.did("the setting of a topic");
    }

    /** What only the controller does, through the tree: more partitions, a moved replica, an election of the preferred leader. */
    private void administration() throws Exception {
        admin.createPartitions(Map.of("gone", NewPartitions.increaseTo(PARTITIONS + 3))).all().get();
        Lab.await("there are more partitions", () -> partitions("gone").size() == PARTITIONS + 3 && inSync("gone"));
        TopicPartition first = new TopicPartition(TOPIC, 0);
        List<Integer> before = new ArrayList<>();
        partitions(TOPIC).get(0).replicas().forEach(node -> before.add(node.id()));
        List<Integer> after = List.of(before.get(2), before.get(0), before.get(1));
        admin.alterPartitionReassignments(Map.of(first, Optional.of(new NewPartitionReassignment(after)))).all().get();
        Lab.await("the replicas are in their new order", () -> {
            List<Integer> now = new ArrayList<>();
            partitions(TOPIC).get(0).replicas().forEach(node -> now.add(node.id()));
            return now.equals(after) && admin.listPartitionReassignments().reassignments().get().isEmpty();
        });
        if (partitions(TOPIC).get(0).leader().id() != after.get(0)) {
            admin.electLeaders(ElectionType.PREFERRED, Set.of(first)).all().get();
        }
        Lab.await("the preferred replica leads", () -> partitions(TOPIC).get(0).leader().id() == after.get(0));
        lab.did("more partitions, a reassignment, an elected leader");
    }

    /** Users by SCRAM, and what they may do; both are in the tree. */
    private void users() throws Exception {
        ScramCredentialInfo how = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096);
        for (String user : List.of("ann", "mallory")) {
            admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(user, how, "secret of " + user))).all().get();
        }
        AclBinding write = acl("ann", AclOperation.WRITE);
        admin.createAcls(List.of(write, acl("ann", AclOperation.DESCRIBE))).all().get();
        Lab.await("the rights are told", () -> admin.describeAcls(AclBindingFilter.ANY).values().get().size() == 2);
        Lab.retry("who may, can", () -> writeAs("ann", "secret of ann"));
        refused(AuthorizationException.class, () -> writeAs("mallory", "secret of mallory"));
        refused(SaslAuthenticationException.class, () -> writeAs("ann", "a guess"));
        admin.deleteAcls(List.of(write.toFilter())).all().get();
        Lab.await("who may no longer, cannot", () -> {
            refused(AuthorizationException.class, () -> writeAs("ann", "secret of ann"));
            return true;
        });
        lab.did("SCRAM users, rights given and taken");
    }

    private static AclBinding acl(String user, AclOperation operation) {
        ResourcePattern records = new ResourcePattern(ResourceType.TOPIC, "gone", PatternType.LITERAL);
        return new AclBinding(records, new AccessControlEntry("User:" + user, "*", operation, AclPermissionType.ALLOW));
    }

    private void writeAs(String user, String password) throws Exception {
        Properties settings = client(guarded);
        settings.put("security.protocol", "SASL_PLAINTEXT");
        settings.put("sasl.mechanism", "SCRAM-SHA-256");
        settings.put("sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"" + user
                + "\" password=\"" + password + "\";");
        settings.put("max.block.ms", "15000");
        settings.put("enable.idempotence", "false");
        try (KafkaProducer<Integer, Integer> producer = new KafkaProducer<>(settings, new IntegerSerializer(), new IntegerSerializer())) {
            producer.send(new ProducerRecord<>("gone", 1, 1)).get();
        }
    }

    private static void refused(Class<? extends Exception> why, Lab.Act act) throws Exception {
        try {
            act.run();
        } catch (ExecutionException refusal) {
            Lab.check(why.isInstance(refusal.getCause()), why.getSimpleName() + " is expected, not " + refusal.getCause());
            return;
        }
        throw new IllegalStateException(why.getSimpleName() + " is expected, and nothing is refused");
    }

    /** The session of the killed controller ends, its node goes, another broker becomes controller, and leads on. */
    private void controllerDies(Writer writer) throws Exception {
        int old = controller();
        Lab.kill(brokers.get(old));
        Lab.await("another broker is the controller", () -> {
            int now = controller();
            return now > 0 && now != old;
        });
        Lab.await("no partition is led by the dead broker", () -> partitions(TOPIC).values().stream()
                .allMatch(p -> p.leader() != null && p.leader().id() != old && p.isr().size() == BROKERS - 1));
        writer.goesOn();
        lab.did("controller " + old + " died: " + controller() + " follows it, and records are taken");
        start(old);
        allInSync();
        lab.did("the dead broker is back and in sync");
    }

    /** The controller stands still for longer than its session: it has to notice, to give up, and to register again. */
    private void sessionExpires(Writer writer) throws Exception {
        int old = controller();
        Lab.signal(brokers.get(old), "STOP");
        try {
            Lab.await("the silent broker is no longer the controller", () -> {
                int now = controller();
                return now > 0 && now != old && nodes().size() == BROKERS - 1;
            });
            writer.goesOn();
        } finally {
            Lab.signal(brokers.get(old), "CONT");
        }
        allInSync();
        Lab.check(controller() != old, "who comes back does not take over");
        lab.did("a session expired: " + controller() + " is the controller, and the broker registered again");
    }

    private void delete() throws Exception {
        Lab.retry("a topic is deleted", () -> {
            if (admin.listTopics().names().get().contains("gone")) {
                admin.deleteTopics(List.of("gone")).all().get();
            }
        });
        Lab.await("the topic is gone", () -> !admin.listTopics().names().get().contains("gone"));
        lab.did("a topic is deleted while the ZooKeeper leader is dead");
    }

    private void readBack(Writer writer) throws Exception {
        Set<Integer> expected = writer.end();
        Lab.check(writer.refused() == 0, "a record is refused: " + writer.why());
        Properties settings = client(open);
        settings.put("group.id", "readers");
        settings.put("auto.offset.reset", "earliest");
        settings.put("max.poll.records", "5000");
        Map<Integer, Integer> seen = new HashMap<>();
        try (KafkaConsumer<Integer, Integer> consumer = new KafkaConsumer<>(settings, new IntegerDeserializer(), new IntegerDeserializer())) {
            consumer.subscribe(List.of(TOPIC));
            Lab.await("all records are read", () -> {
                for (ConsumerRecord<Integer, Integer> record : consumer.poll(Duration.ofSeconds(1))) {
                    seen.merge(record.value(), 1, Integer::sum);
                }
                consumer.commitSync();
                return seen.keySet().containsAll(expected);
            });
        }
        long twice = seen.values().stream().filter(times -> times > 1).count();
        Lab.checkEquals(0L, twice, "records of an idempotent producer that are there twice");
        lab.did(expected.size() + " records were acknowledged, and all of them are read, each once");
    }

    /** What Kafka keeps in the tree. */
    private void tree() throws Exception {
        ZooKeeper client = new ZooKeeper(lab.connect + "/kafka", 10_000, event -> { });
        try {
            Lab.retry("the tree is read", () -> {
                Set<String> ids = new TreeSet<>(client.getChildren("/brokers/ids", false));
                Lab.checkEquals(Set.of("1", "2", "3"), ids, "brokers in the tree");
                Lab.check(client.exists("/brokers/topics/gone", false) == null, "the deleted topic is in the tree");
                Lab.checkEquals(2, client.getChildren("/config/users", false).size(), "users in the tree");
                int epoch = Integer.parseInt(new String(client.getData("/controller_epoch", false, null)));
                Lab.check(epoch >= 3, "epoch of the controller: " + epoch);
            });
        } finally {
            client.close();
        }
        lab.did("the tree holds three brokers, two users, no deleted topic");
    }

    private void send(KafkaProducer<Integer, Integer> producer, int number) throws Exception {
        producer.send(new ProducerRecord<>(TOPIC, number, number)).get();
    }

    private KafkaProducer<Integer, Integer> producer() {
        Properties settings = client(open);
        settings.put("acks", "all");
        settings.put("delivery.timeout.ms", "120000");
        return new KafkaProducer<>(settings, new IntegerSerializer(), new IntegerSerializer());
    }
}
