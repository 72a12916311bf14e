import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * What every driver of a program needs: telling what is done, asking whoever runs the ZooKeeper servers for something, and processes of
 * the program.
 *
 * <p>A driver is given the connect string, a directory of its own, the folder that its source is in, and ports that are free. It says on its standard output, a line
 * each: {@code did TEXT} for a step that has held, {@code ask THING} for what somebody else has to do, whose answer is a line on the
 * standard input, and {@code done}. It exits with 1 and the cause at the first wrong answer.
 */
final class Lab {
    /** For anything that a program does by itself; a busy machine takes long to start a JVM. */
    static final int PATIENCE_SECONDS = 180;
    /** For a last try that has begun within that time. */
    private static final int STUCK_SECONDS = 60;
    private static final ScheduledExecutorService ALARMS = Executors.newSingleThreadScheduledExecutor(act -> {
        Thread thread = new Thread(act, "alarm");
        thread.setDaemon(true);
        return thread;
    });

    final String connect;
    final Path directory;
    /** The folder of the driver. */
    final Path source;
    private final Iterator<Integer> ports;
    private final BufferedReader answers = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

    /** A step that can go wrong. */
    interface Act {
        void run() throws Exception;
    }

    /** What a driver does. */
    interface Work {
        void run(Lab lab) throws Exception;
    }

    private Lab(String[] arguments) {
        connect = arguments[0];
        directory = Path.of(arguments[1]);
        source = Path.of(arguments[2]);
        List<Integer> free = new ArrayList<>();
        for (String port : Arrays.copyOfRange(arguments, 3, arguments.length)) {
            free.add(Integer.valueOf(port));
        }
        ports = free.iterator();
    }

    /** Does the work of a driver and ends the process. */
    static void main(String[] arguments, Work work) {
        int code = 0;
        try {
            work.run(new Lab(arguments));
            System.out.println("done");
        } catch (Throwable wrong) {
            wrong.printStackTrace(System.out);
            code = 1;
        }
        System.out.flush();
        // What a client leaves running does not hold the process; its children end with it.
        Runtime.getRuntime().halt(code);
    }

    void did(String what) {
        System.out.println("did " + what);
    }

    /** Asks for {@code kill-leader} or {@code restart}, and waits until it is done. */
    void ask(String what) throws IOException {
        System.out.println("ask " + what);
        String answer = answers.readLine();
        check("ok".equals(answer), what + " is answered " + answer);
    }

    int port() {
        return ports.next();
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void checkEquals(Object expected, Object seen, String what) {
        check(expected.equals(seen), what + ": expected " + expected + ", seen " + seen);
    }

    static void checkNothingLost(Set<Integer> acknowledged, Set<Integer> found, String where) {
        Set<Integer> lost = new TreeSet<>(acknowledged);
        lost.removeAll(found);
        check(lost.isEmpty(), "of " + acknowledged.size() + " acknowledged numbers, " + where + " lacks " + lost);
    }

    /** Looks until it holds; what is thrown meanwhile counts as "not yet", and belongs to the error at the end. */
    static void await(String what, Callable<Boolean> condition) throws Exception {
        Thread waiting = Thread.currentThread();
        // Some clients try for ever, and no look at the clock comes behind them.
        Future<?> alarm = ALARMS.schedule(() -> stuck(what, waiting), PATIENCE_SECONDS + STUCK_SECONDS, TimeUnit.SECONDS);
        try {
            look(what, condition);
        } finally {
            alarm.cancel(false);
        }
    }

    private static void look(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        Throwable last = null;
        while (System.nanoTime() < end) {
            try {
                if (condition.call()) {
                    return;
                }
                last = null;
            } catch (Exception | AssertionError notYet) {
                last = notYet;
            }
            Thread.sleep(200);
        }
        throw new AssertionError("not within " + PATIENCE_SECONDS + " s: " + what, last);
    }

    private static void stuck(String what, Thread waiting) {
        AssertionError error = new AssertionError("not within " + (PATIENCE_SECONDS + STUCK_SECONDS) + " s, and nothing is answered: " + what);
        error.setStackTrace(waiting.getStackTrace());
        error.printStackTrace(System.out);
        System.out.flush();
        Runtime.getRuntime().halt(1);
    }

    /** Does it until it goes through. */
    static void retry(String what, Act act) throws Exception {
        await(what, () -> {
            act.run();
            return true;
        });
    }

    Path write(String name, String text) throws IOException {
        Path file = directory.resolve(name);
        Files.createDirectories(file.getParent());
        return Files.writeString(file, text);
    }

    /** Starts a main class of the program in a process of its own, whose output is {@code NAME.log}. */
    Process start(String name, List<String> jvm, String mainClass, String... arguments) throws IOException {
        List<String> line = new ArrayList<>();
        line.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        line.addAll(List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"));
        // As for the driver itself.
        for (String setting : List.of("log4j.configuration", "log4j2.configurationFile")) {
            line.add("-D" + setting + "=" + System.getProperty(setting));
        }
        line.addAll(jvm);
        line.addAll(List.of("-cp", System.getProperty("java.class.path"), "Child", mainClass));
        line.addAll(Arrays.asList(arguments));
        File log = directory.resolve(name + ".log").toFile();
        ProcessBuilder builder = new ProcessBuilder(line).directory(directory.toFile());
        builder.redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(log));
        return builder.start();
    }

    /** As a crash does: no word to anybody. */
    static void kill(Process process) throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** An orderly end. */
    static void stop(Process process) throws InterruptedException {
        process.destroy();
        check(process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS), "the process ends when it is told to");
    }

    /** STOP or CONT, by which a process misses time without dying. */
    static void signal(Process process, String signal) throws IOException, InterruptedException {
        int code = new ProcessBuilder("kill", "-" + signal, Long.toString(process.pid())).start().waitFor();
        check(code == 0, "kill -" + signal + " exits with " + code);
    }
}
