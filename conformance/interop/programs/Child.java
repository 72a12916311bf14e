import java.lang.reflect.InvocationTargetException;
import java.util.Arrays;

/**
 * Runs the main class named by the first argument, in a process that ends with its parent: whoever starts it holds its standard input,
 * and when that ends, however the parent has died, the process ends, too.
 */
public final class Child {
    private static final int PARENT_IS_GONE = 3;

    private Child() {}

    public static void main(String[] arguments) throws Throwable {
        Thread watcher = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // The parent says nothing; the end of the stream is what counts.
                }
            } catch (java.io.IOException gone) {
                // As good as its end.
            }
            Runtime.getRuntime().halt(PARENT_IS_GONE);
        }, "parent");
        watcher.setDaemon(true);
        watcher.start();
        String[] rest = Arrays.copyOfRange(arguments, 1, arguments.length);
        try {
            Class.forName(arguments[0]).getMethod("main", String[].class).invoke(null, (Object) rest);
        } catch (InvocationTargetException failed) {
            throw failed.getCause();
        }
    }
}
