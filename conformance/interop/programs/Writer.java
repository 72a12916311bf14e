import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

/** Writes numbers, one after the other, as long as the driver works, and remembers which of them were acknowledged. */
final class Writer implements AutoCloseable {
    /** Written between two looks at whether writing goes on. */
    private static final int STEP = 50;

    private final Set<Integer> acknowledged = new ConcurrentSkipListSet<>();
    private final AtomicInteger refused = new AtomicInteger();
    private final AtomicReference<Exception> why = new AtomicReference<>();
    private final Put put;
    private final Thread thread = new Thread(this::write, "writer");
    private volatile boolean ends;

    /** Writes a number, and returns when that is acknowledged. */
    interface Put {
        void put(int number) throws Exception;
    }

    Writer(Put put) {
        this.put = put;
        thread.setDaemon(true);
        thread.start();
    }

    private void write() {
        for (int number = 0; !ends; number++) {
            try {
                put.put(number);
                acknowledged.add(number);
            } catch (Exception error) {
                refused.incrementAndGet();
                why.set(error);
            }
        }
    }

    /** Waits until numbers that are written from now on have been acknowledged. */
    void goesOn() throws Exception {
        int before = acknowledged.size();
        Lab.await("numbers are acknowledged; refused were " + refused + ", last by " + why, () -> acknowledged.size() > before + STEP);
    }

    /** How many were refused; of these it is not known whether they are there. */
    int refused() {
        return refused.get();
    }

    Exception why() {
        return why.get();
    }

    /** Ends, and tells what was acknowledged. */
    Set<Integer> end() throws InterruptedException {
        ends = true;
        thread.join();
        Lab.check(acknowledged.size() > 10 * STEP, "only " + acknowledged.size() + " numbers were acknowledged");
        return acknowledged;
    }

    @Override
    public void close() {
        ends = true;
    }
}
