import java.lang.instrument.Instrumentation;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import net.bytebuddy.agent.builder.AgentBuilder;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.matcher.ElementMatchers;

/**
 * A Java agent: what would listen on all interfaces listens on 127.0.0.1. The gRPC servers of Beam
 * (the job server's, and those that a TaskManager opens for its workers) and Flink's Prometheus
 * reporter have no option for it.
 */
public final class Loopback {
  public static void premain(String arguments, Instrumentation instrumentation) {
    new AgentBuilder.Default()
        .disableClassFormatChanges()
        .with(AgentBuilder.RedefinitionStrategy.RETRANSFORMATION)
        .with(AgentBuilder.Listener.StreamWriting.toSystemError().withErrorsOnly())
        .ignore(ElementMatchers.none())
        .type(ElementMatchers.named("sun.nio.ch.ServerSocketChannelImpl")
            .or(ElementMatchers.named("java.net.ServerSocket"))
            .or(ElementMatchers.nameEndsWith(".netty.channel.epoll.EpollServerSocketChannel")))
        .transform((builder, type, loader, module, domain) ->
            builder.visit(Advice.to(Bind.class).on(ElementMatchers.namedOneOf("bind", "doBind")
                .and(ElementMatchers.takesArgument(0, SocketAddress.class)))))
        .installOn(instrumentation);
  }

  /** What is put before the code of `bind`. */
  static final class Bind {
    @Advice.OnMethodEnter
    static void enter(@Advice.Argument(value = 0, readOnly = false) SocketAddress address) {
      if (address == null) {
        address = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
      } else if (address instanceof InetSocketAddress) {
        InetSocketAddress given = (InetSocketAddress) address;
        if (given.getAddress() != null && given.getAddress().isAnyLocalAddress()) {
          address = new InetSocketAddress(InetAddress.getLoopbackAddress(), given.getPort());
        }
      }
    }
  }
}
