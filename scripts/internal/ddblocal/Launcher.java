import com.amazonaws.services.dynamodbv2.local.server.LocalDynamoDBRequestHandler;
import com.amazonaws.services.dynamodbv2.local.server.LocalDynamoDBServerHandler;
import java.net.InetSocketAddress;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.handler.ContextHandler;

/**
 * Starts DynamoDB Local on 127.0.0.1 and a free port, prints "listening PORT",
 * and ends when standard input closes. The engine's own main class cannot be
 * given an address and would listen on every interface; it also is the only
 * place that sends telemetry, so none is sent from here.
 *
 * <p>Argument: the data directory; none means in memory.
 */
public final class Launcher {
    public static void main(String[] args) throws Exception {
        boolean inMemory = args.length == 0;
        LocalDynamoDBServerHandler engine = new LocalDynamoDBServerHandler(
            new LocalDynamoDBRequestHandler(0, inMemory, inMemory ? null : args[0], true, false), null);
        ContextHandler root = new ContextHandler("/");
        root.setHandler(engine);
        Server server = new Server(new InetSocketAddress("127.0.0.1", 0));
        server.setHandler(root);
        server.start();
        System.out.println("listening " + ((ServerConnector) server.getConnectors()[0]).getLocalPort());
        while (System.in.read() >= 0) { }
        server.stop();
        engine.close();
        System.exit(0);
    }
}
