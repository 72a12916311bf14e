import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.data.Stat;

/**
 * What users of Curator do: its framework and its recipes, between two clients, and again after the death of the leader.
 *
 * <p>The argument is a connect string. The program prints "ready" when its first half is done, waits for a line on its standard
 * input while the test kills the leader, goes on with the same sessions, and prints "done". It exits with 1 and the cause at the
 * first wrong answer.
 */
public final class Work {
    private static final int PATIENCE_SECONDS = 30;
    private static final int TIMEOUT_MS = 10_000;

    private Work() {}

    public static void main(String[] arguments) {
        exitWith(() -> {
            work(arguments[0]);
            return null;
        });
    }

    /** Ends the process: with 1 and the cause, if something is not as it should be. */
    static void exitWith(Callable<Void> program) {
        try {
            program.call();
            say("done");
        } catch (Throwable error) {
            error.printStackTrace(System.out);
            say("Curator: " + error);
            System.exit(1);
        }
        System.exit(0);
    }

    private static void work(String servers) throws Exception {
        try (CuratorFramework ann = connect(servers);
                CuratorFramework bob = connect(servers)) {
            framework(ann, bob);
            recipes(ann, bob, "/curator/first");
            LeaderLatch latch = new LeaderLatch(ann, "/curator/latch");
            latch.start();
            check(latch.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the latch has a leader");
            InterProcessMutex held = new InterProcessMutex(ann, "/curator/held");
            check(held.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "the mutex is acquired");
            long session = ann.getZookeeperClient().getZooKeeper().getSessionId();
            say("ready");
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).readLine();

            recipes(ann, bob, "/curator/second");
            check(ann.getZookeeperClient().getZooKeeper().getSessionId() == session, "the session is the same");
            check(!new InterProcessMutex(bob, "/curator/held").acquire(300, TimeUnit.MILLISECONDS), "a held mutex is not given away");
            held.release();
            InterProcessMutex next = new InterProcessMutex(bob, "/curator/held");
            check(next.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "the mutex is handed over");
            next.release();
            eventually("the latch leads again", latch::hasLeadership);
            latch.close();
        }
    }

    private static void say(String word) {
        System.out.println(word);
        System.out.flush();
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError("not so: " + what);
        }
    }

    static void eventually(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (!condition.call()) {
            check(System.nanoTime() < end, what);
            Thread.sleep(20);
        }
    }

    static <E extends Exception> void refused(Class<E> with, String what, Callable<?> call) throws Exception {
        try {
            call.call();
        } catch (Exception error) {
            if (with.isInstance(error)) {
                return;
            }
            throw error;
        }
        throw new AssertionError(what + " was not refused");
    }

    private static CuratorFramework connect(String servers) throws Exception {
        return connect(servers, "ann:secret", true);
    }

    /** A client of this user, which follows the members of the ensemble or stays with the servers that it has been given. */
    static CuratorFramework connect(String servers, String user, boolean tracks) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder()
                .connectString(servers)
                .sessionTimeoutMs(TIMEOUT_MS)
                .ensembleTracker(tracks)
                .maxCloseWaitMs(50)
                .retryPolicy(new RetryNTimes(PATIENCE_SECONDS * 10, 100))
                .authorization("digest", user.getBytes(StandardCharsets.UTF_8))
                .build();
        client.start();
        check(client.blockUntilConnected(PATIENCE_SECONDS, TimeUnit.SECONDS), "there is a session");
        return client;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void framework(CuratorFramework ann, CuratorFramework bob) throws Exception {
        ann.create().creatingParentsIfNeeded().forPath("/curator/a/b", bytes("0"));
        refused(KeeperException.NodeExistsException.class, "create again", () -> ann.create().forPath("/curator/a/b"));
        refused(KeeperException.NoNodeException.class, "create without a parent", () -> ann.create().forPath("/none/child"));
        Stat stat = ann.setData().withVersion(0).forPath("/curator/a/b", bytes("22"));
        check(stat.getVersion() == 1 && stat.getDataLength() == 2, "the Stat of setData");
        refused(KeeperException.BadVersionException.class, "set of an old version",
                () -> ann.setData().withVersion(0).forPath("/curator/a/b", bytes("x")));
        String protectedPath = ann.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/curator/p-");
        check(protectedPath.matches("/curator/_c_[0-9a-f-]{36}-p-\\d{10}"), "the protected path " + protectedPath);
        ann.create().withMode(CreateMode.CONTAINER).forPath("/curator/container");
        List<CuratorTransactionResult> results = ann.transaction().forOperations(
                ann.transactionOp().create().forPath("/curator/t", bytes("t")),
                ann.transactionOp().setData().withVersion(0).forPath("/curator/t", bytes("u")),
                ann.transactionOp().check().withVersion(1).forPath("/curator/t"),
                ann.transactionOp().delete().forPath("/curator/t"));
        check(results.size() == 4 && results.get(1).getResultStat().getVersion() == 1, "the answers of a transaction");
        refused(KeeperException.BadVersionException.class, "a transaction with a wrong version",
                () -> ann.transaction().forOperations(
                        ann.transactionOp().create().forPath("/curator/t"),
                        ann.transactionOp().check().withVersion(7).forPath("/curator/a/b")));
        check(ann.checkExists().forPath("/curator/t") == null, "a refused transaction leaves nothing");
        ann.create().withACL(ZooDefs.Ids.CREATOR_ALL_ACL).forPath("/curator/private", bytes("p"));
        bob.sync().forPath("/curator");
        eventually("the other client with the same password reads it", () -> bob.checkExists().forPath("/curator/private") != null);
        check(new String(bob.getData().forPath("/curator/private"), StandardCharsets.UTF_8).equals("p"), "the private data");

        BlockingQueue<String> seen = new LinkedBlockingQueue<>();
        try (PersistentWatcher watcher = new PersistentWatcher(bob, "/curator/a", true)) {
            watcher.getListenable().addListener(event -> seen.add(event.getType() + " " + event.getPath()));
            CountDownLatch set = new CountDownLatch(1);
            watcher.getResetListenable().addListener(set::countDown);
            watcher.start();
            check(set.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the persistent watch is set");
            ann.setData().forPath("/curator/a/b", bytes("3"));
            ann.setData().forPath("/curator/a/b", bytes("4"));
            for (int i = 0; i < 2; i++) {
                String event = seen.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
                check("NodeDataChanged /curator/a/b".equals(event), "the persistent watch told " + event);
            }
        }
        ann.delete().guaranteed().deletingChildrenIfNeeded().forPath("/curator/a");
    }

    private static void recipes(CuratorFramework ann, CuratorFramework bob, String root) throws Exception {
        ann.create().creatingParentsIfNeeded().forPath(root);
        locks(ann, bob, root);
        leaders(ann, bob, root);
        numbers(ann, bob, root);
        barriers(ann, bob, root);
        caches(ann, bob, root);
        nodes(ann, bob, root);
    }

    private static void locks(CuratorFramework ann, CuratorFramework bob, String root) throws Exception {
        InterProcessMutex first = new InterProcessMutex(ann, root + "/mutex");
        InterProcessMutex second = new InterProcessMutex(bob, root + "/mutex");
        check(first.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "the mutex is acquired");
        check(!second.acquire(200, TimeUnit.MILLISECONDS), "a held mutex is not given to another");
        first.release();
        check(second.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "a released mutex is given to another");
        second.release();

        InterProcessReadWriteLock ours = new InterProcessReadWriteLock(ann, root + "/rw");
        InterProcessReadWriteLock theirs = new InterProcessReadWriteLock(bob, root + "/rw");
        check(ours.readLock().acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "a reader");
        check(theirs.readLock().acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "a second reader");
        theirs.readLock().release();
        check(!theirs.writeLock().acquire(200, TimeUnit.MILLISECONDS), "no writer beside a reader");
        ours.readLock().release();
        check(theirs.writeLock().acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "a writer alone");
        theirs.writeLock().release();

        InterProcessSemaphoreV2 leases = new InterProcessSemaphoreV2(ann, root + "/semaphore", 2);
        var one = leases.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS);
        var two = leases.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS);
        check(one != null && two != null, "two leases");
        InterProcessSemaphoreV2 others = new InterProcessSemaphoreV2(bob, root + "/semaphore", 2);
        check(others.acquire(200, TimeUnit.MILLISECONDS) == null, "no third lease of two");
        leases.returnLease(one);
        var third = others.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS);
        check(third != null, "a returned lease is given to another");
        others.returnLease(third);
        leases.returnLease(two);
    }

    private static void leaders(CuratorFramework ann, CuratorFramework bob, String root) throws Exception {
        LeaderLatch first = new LeaderLatch(ann, root + "/latch", "ann");
        LeaderLatch second = new LeaderLatch(bob, root + "/latch", "bob");
        first.start();
        check(first.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the first latch leads");
        second.start();
        eventually("two take part", () -> first.getParticipants().size() == 2);
        check(!second.hasLeadership(), "the second latch does not lead");
        first.close();
        check(second.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the second latch leads after the first");
        second.close();

        CountDownLatch led = new CountDownLatch(1);
        try (LeaderSelector selector = new LeaderSelector(bob, root + "/selector", new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework client) {
                    led.countDown();
                }
            })) {
            selector.start();
            check(led.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the selector leads");
            eventually("the selector has given up its lead", () -> !selector.hasLeadership());
        }
    }

    private static void numbers(CuratorFramework ann, CuratorFramework bob, String root) throws Exception {
        DistributedAtomicLong ours = new DistributedAtomicLong(ann, root + "/long", new RetryNTimes(100, 20));
        DistributedAtomicLong theirs = new DistributedAtomicLong(bob, root + "/long", new RetryNTimes(100, 20));
        for (int i = 0; i < 5; i++) {
            check(ours.increment().succeeded() && theirs.increment().succeeded(), "an increment");
        }
        check(ours.increment().postValue() == 11, "eleven increments make eleven");

        try (SharedCount count = new SharedCount(ann, root + "/count", 1); SharedCount same = new SharedCount(bob, root + "/count", 1)) {
            count.start();
            same.start();
            count.setCount(42);
            eventually("the other sees the shared count", () -> same.getCount() == 42);
        }
        SimpleDistributedQueue queue = new SimpleDistributedQueue(ann, root + "/queue");
        queue.offer(bytes("x"));
        queue.offer(bytes("y"));
        SimpleDistributedQueue consumer = new SimpleDistributedQueue(bob, root + "/queue");
        bob.sync().forPath(root);
        for (String want : new String[] {"x", "y"}) {
            byte[] got = consumer.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
            check(got != null && want.equals(new String(got, StandardCharsets.UTF_8)), "the queue gives " + want);
        }
    }

    private static void barriers(CuratorFramework ann, CuratorFramework bob, String root) throws Exception {
        DistributedBarrier barrier = new DistributedBarrier(ann, root + "/barrier");
        barrier.setBarrier();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Thread waiter = new Thread(() -> {
            try {
                DistributedBarrier same = new DistributedBarrier(bob, root + "/barrier");
                check(same.waitOnBarrier(PATIENCE_SECONDS, TimeUnit.SECONDS), "the barrier opens");
                DistributedDoubleBarrier both = new DistributedDoubleBarrier(bob, root + "/double", 2);
                check(both.enter(PATIENCE_SECONDS, TimeUnit.SECONDS), "the second enters");
                check(both.leave(PATIENCE_SECONDS, TimeUnit.SECONDS), "the second leaves");
            } catch (Throwable error) {
                failure.set(error);
            }
        });
        waiter.start();
        barrier.removeBarrier();
        DistributedDoubleBarrier both = new DistributedDoubleBarrier(ann, root + "/double", 2);
        check(both.enter(PATIENCE_SECONDS, TimeUnit.SECONDS), "the first enters");
        check(both.leave(PATIENCE_SECONDS, TimeUnit.SECONDS), "the first leaves");
        waiter.join(TimeUnit.SECONDS.toMillis(2 * PATIENCE_SECONDS));
        if (failure.get() != null) {
            throw new AssertionError(failure.get());
        }
        check(!waiter.isAlive(), "the waiter is done");
    }

    private static void caches(CuratorFramework ann, CuratorFramework bob, String root) throws Exception {
        List<String> events = java.util.Collections.synchronizedList(new ArrayList<>());
        ann.create().forPath(root + "/cache", bytes("0"));
        bob.sync().forPath(root);
        try (CuratorCache cache = CuratorCache.build(bob, root + "/cache")) {
            CountDownLatch filled = new CountDownLatch(1);
            cache.listenable().addListener(CuratorCacheListener.builder()
                    .forAll((type, before, after) -> events.add(type + " " + (after == null ? before : after).getPath()))
                    .forInitialized(filled::countDown)
                    .build());
            cache.start();
            check(filled.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the cache is filled");
            ann.create().forPath(root + "/cache/child", bytes("1"));
            // A cache reads a node when it hears of it: of one that is gone by then it tells nothing.
            eventually("the cache tells the creation", () -> events.contains("NODE_CREATED " + root + "/cache/child"));
            ann.setData().forPath(root + "/cache/child", bytes("2"));
            ann.delete().forPath(root + "/cache/child");
            eventually("the cache tells the deletion", () -> events.contains("NODE_DELETED " + root + "/cache/child"));
        }
    }

    private static void nodes(CuratorFramework ann, CuratorFramework bob, String root) throws Exception {
        try (PersistentNode node = new PersistentNode(ann, CreateMode.EPHEMERAL, false, root + "/persistent", bytes("n"))) {
            node.start();
            check(node.waitForInitialCreate(PATIENCE_SECONDS, TimeUnit.SECONDS), "the persistent node is there");
            eventually("another sees it", () -> bob.checkExists().forPath(root + "/persistent") != null);
            bob.delete().forPath(root + "/persistent");
            eventually("it comes back when it is deleted", () -> bob.checkExists().forPath(root + "/persistent") != null);
        }
        try (GroupMember a = new GroupMember(ann, root + "/group", "a"); GroupMember b = new GroupMember(bob, root + "/group", "b")) {
            a.start();
            b.start();
            eventually("both see both", () -> a.getCurrentMembers().size() == 2 && b.getCurrentMembers().size() == 2);
        }
        try (PersistentTtlNode node = new PersistentTtlNode(ann, root + "/ttl", 60_000, bytes("t"))) {
            node.start();
            check(node.waitForInitialCreate(PATIENCE_SECONDS, TimeUnit.SECONDS), "the TTL node is there");
        }
    }
}
