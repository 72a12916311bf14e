import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.apache.bookkeeper.client.BKException;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.BookKeeperAdmin;
import org.apache.bookkeeper.client.LedgerEntry;
import org.apache.bookkeeper.client.LedgerHandle;
import org.apache.bookkeeper.conf.ClientConfiguration;
import org.apache.bookkeeper.conf.ServerConfiguration;
import org.apache.bookkeeper.meta.LedgerUnderreplicationManager;
import org.apache.bookkeeper.net.BookieId;

/**
 * BookKeeper with four bookies that repair what a dead one held. Entries are written all the time, in one ledger after the other, while the
 * ZooKeeper leader dies, the auditor dies, and a bookie misses its session; at the end each entry that was acknowledged is read.
 */
public final class Work {
    private static final int BOOKIES = 4;
    private static final int COPIES = 3;
    private static final int ACKS = 2;
    private static final int SESSION_MS = 6000;
    private static final int ENTRIES_IN_LEDGER = 100;
    private static final byte[] PASSWORD = "secret".getBytes();
    private static final BookKeeper.DigestType DIGEST = BookKeeper.DigestType.CRC32C;

    private final Lab lab;
    private final String metadata;
    private final int[] ports = new int[BOOKIES + 1];
    private final Map<Integer, Process> bookies = new TreeMap<>();
    private final List<Long> ledgers = Collections.synchronizedList(new ArrayList<>());
    private BookKeeper client;
    private BookKeeperAdmin admin;
    private LedgerUnderreplicationManager repair;
    /** The writer's own. */
    private LedgerHandle current;

    private Work(Lab lab) {
        this.lab = lab;
        metadata = "zk+hierarchical://" + lab.connect.replace(',', ';') + "/ledgers";
    }

    public static void main(String[] arguments) {
        Lab.main(arguments, lab -> new Work(lab).run());
    }

    private void run() throws Exception {
        Lab.check(BookKeeperAdmin.format(new ServerConfiguration().setMetadataServiceUri(metadata), false, true), "the metadata are formatted");
        for (int id = 1; id <= BOOKIES; id++) {
            ports[id] = lab.port();
            start(id);
        }
        ClientConfiguration settings = new ClientConfiguration().setMetadataServiceUri(metadata).setZkTimeout(SESSION_MS)
                .setAddEntryTimeout(5).setReadEntryTimeout(5);
        client = new BookKeeper(settings);
        admin = new BookKeeperAdmin(client, settings);
        repair = client.getLedgerManagerFactory().newLedgerUnderreplicationManager();
        there(BOOKIES);
        Lab.await("there is an auditor", () -> auditor() > 0);
        lab.did("metadata formatted, four bookies, an auditor");
        try (Writer writer = new Writer(this::add)) {
            writer.goesOn();
            lab.ask("kill-leader");
            long own = ownLedger();
            writer.goesOn();
            lab.ask("restart");
            lab.did("the ZooKeeper leader died: a ledger is made, closed and read, entries are taken");
            fenced();
            auditorDies(writer);
            sessionExpires(writer);
            lab.ask("kill-leader");
            client.deleteLedger(own);
            gone(own);
            writer.goesOn();
            lab.ask("restart");
            lab.did("a ledger is deleted while the ZooKeeper leader is dead");
            readAll(writer);
        }
    }

    private void start(int id) throws Exception {
        Path data = lab.directory.resolve("bookie-" + id);
        Path config = lab.write("bookie-" + id + ".conf", String.join("\n",
                "metadataServiceUri=" + metadata,
                "zkTimeout=" + SESSION_MS,
                "bookiePort=" + ports[id],
                "advertisedAddress=127.0.0.1",
                "allowLoopback=true",
                "journalDirectories=" + data.resolve("journal"),
                "ledgerDirectories=" + data.resolve("ledgers"),
                "autoRecoveryDaemonEnabled=true",
                "lostBookieRecoveryDelay=0",
                "openLedgerRereplicationGracePeriod=2000",
                "rwRereplicateBackoffMs=1000",
                "diskUsageThreshold=0.99",
                "diskUsageWarnThreshold=0.99",
                "dbStorage_writeCacheMaxSizeMb=16",
                "dbStorage_readAheadCacheMaxSizeMb=16",
                ""));
        List<String> jvm = List.of("-Xmx256m", "-XX:MaxDirectMemorySize=256m");
        bookies.put(id, lab.start("bookie-" + id, jvm, "org.apache.bookkeeper.server.Main", "--conf", config.toString()));
    }

    private void there(int count) throws Exception {
        Lab.await(count + " bookies are there", () -> admin.getAvailableBookies().size() == count);
    }

    private BookieId address(int id) {
        return BookieId.parse("127.0.0.1:" + ports[id]);
    }

    private int auditor() throws Exception {
        BookieId now = admin.getCurrentAuditor();
        for (int id = 1; id <= BOOKIES; id++) {
            if (address(id).equals(now)) {
                return id;
            }
        }
        return -1;
    }

    /** Called by the writer alone. */
    private void add(int number) throws Exception {
        if (current == null) {
            current = client.createLedger(COPIES, COPIES, ACKS, DIGEST, PASSWORD);
            ledgers.add(current.getId());
        }
        LedgerHandle ledger = current;
        current = null; // if something goes wrong, another one is begun
        long entry = ledger.addEntry(bytes(number));
        if (entry + 1 < ENTRIES_IN_LEDGER) {
            current = ledger;
        } else {
            ledger.close();
        }
    }

    private static byte[] bytes(int number) {
        return ByteBuffer.allocate(Integer.BYTES).putInt(number).array();
    }

    private static Set<Integer> numbers(LedgerHandle ledger) throws Exception {
        Set<Integer> found = new TreeSet<>();
        long last = ledger.getLastAddConfirmed();
        if (last >= 0) {
            for (LedgerEntry entry : Collections.list(ledger.readEntries(0, last))) {
                found.add(ByteBuffer.wrap(entry.getEntry()).getInt());
            }
        }
        return found;
    }

    private long ownLedger() throws Exception {
        long[] id = {-1};
        Lab.retry("a ledger is made and closed", () -> {
            LedgerHandle ledger = client.createLedger(COPIES, COPIES, ACKS, DIGEST, PASSWORD);
            id[0] = ledger.getId();
            ledger.addEntry(bytes(7));
            ledger.close();
        });
        try (LedgerHandle ledger = client.openLedger(id[0], DIGEST, PASSWORD)) {
            Lab.checkEquals(Set.of(7), numbers(ledger), "entries of a ledger");
        }
        return id[0];
    }

    /** Who opens a ledger that is being written ends it: the writer can neither add nor close it with another end. */
    private void fenced() throws Exception {
        LedgerHandle writer = client.createLedger(COPIES, COPIES, ACKS, DIGEST, PASSWORD);
        writer.addEntry(bytes(1));
        try (LedgerHandle reader = client.openLedger(writer.getId(), DIGEST, PASSWORD)) {
            Lab.checkEquals(Set.of(1), numbers(reader), "entries of a ledger that is taken over");
        }
        try {
            writer.addEntry(bytes(2));
            throw new AssertionError("a fenced writer adds an entry");
        } catch (BKException.BKLedgerFencedException | BKException.BKLedgerClosedException fenced) {
            lab.did("a ledger that is taken over takes nothing from its writer");
        }
    }

    private int otherAuditor(int old) throws Exception {
        there(BOOKIES - 1);
        Lab.await("another bookie is the auditor", () -> auditor() > 0 && auditor() != old);
        return auditor();
    }

    /** What the dead bookie held is copied to the others, by whoever becomes auditor. */
    private void auditorDies(Writer writer) throws Exception {
        int old = auditor();
        Lab.kill(bookies.get(old));
        int next = otherAuditor(old);
        writer.goesOn();
        lab.did("auditor " + old + " died: " + next + " follows it, and entries are taken");
        Lab.await("nothing is held by the dead bookie any more", () -> {
            Set<Long> held = new TreeSet<>(admin.getLedgersContainBookies(Set.of(address(old))).keySet());
            held.retainAll(ledgers);
            return held.isEmpty() && !repair.listLedgersToRereplicate(null).hasNext();
        });
        lab.did("what the dead bookie held is copied to the others");
        start(old);
        there(BOOKIES);
    }

    private void sessionExpires(Writer writer) throws Exception {
        int old = auditor();
        Lab.signal(bookies.get(old), "STOP");
        int next;
        try {
            next = otherAuditor(old);
            writer.goesOn();
        } finally {
            Lab.signal(bookies.get(old), "CONT");
        }
        // Autorecovery ends with its session, and takes the bookie with it; whoever supervises bookies starts it again.
        boolean ends = bookies.get(old).waitFor(Lab.PATIENCE_SECONDS, TimeUnit.SECONDS);
        Lab.check(ends, "the bookie that has missed its session ends");
        start(old);
        there(BOOKIES);
        Lab.checkEquals(next, auditor(), "the auditor");
        lab.did("a session expired: " + next + " is the auditor, and the bookie ended itself and is back");
    }

    private void gone(long id) throws Exception {
        try {
            client.openLedger(id, DIGEST, PASSWORD);
        } catch (BKException.BKNoSuchLedgerExistsOnMetadataServerException gone) {
            return;
        }
        throw new AssertionError("a deleted ledger is opened");
    }

    private void readAll(Writer writer) throws Exception {
        Set<Integer> expected = writer.end();
        Set<Integer> found = new TreeSet<>();
        for (long id : ledgers) {
            try (LedgerHandle ledger = client.openLedger(id, DIGEST, PASSWORD)) {
                found.addAll(numbers(ledger));
            }
        }
        Lab.checkNothingLost(expected, found, "what is read");
        lab.did(expected.size() + " entries in " + ledgers.size() + " ledgers were acknowledged (" + writer.refused()
                + " were refused meanwhile), and all of them are read");
    }
}
