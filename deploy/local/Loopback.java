import java.lang.instrument.ClassFileTransformer;
import java.lang.instrument.Instrumentation;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.security.ProtectionDomain;
import net.bytebuddy.ByteBuddy;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.dynamic.ClassFileLocator;
import net.bytebuddy.dynamic.scaffold.InstrumentedType;
import net.bytebuddy.dynamic.scaffold.TypeValidation;
import net.bytebuddy.implementation.Implementation;
import net.bytebuddy.matcher.ElementMatchers;
import net.bytebuddy.pool.TypePool;

/**
 * A Java agent: what would listen on all interfaces listens on 127.0.0.1. The gRPC servers of Beam
 * (the job server's, and those that a TaskManager opens for its workers) and Flink's Prometheus
 * reporter have no option for it.
 */
public final class Loopback implements ClassFileTransformer {
  public static void premain(String arguments, Instrumentation instrumentation) throws Exception {
    instrumentation.addTransformer(new Loopback(), true);
    instrumentation.retransformClasses(
        java.net.ServerSocket.class, Class.forName("sun.nio.ch.ServerSocketChannelImpl"));
  }

  @Override
  public byte[] transform(
      ClassLoader loader, String path, Class<?> known, ProtectionDomain domain, byte[] bytes) {
    if (path == null || !listens(path)) {
      return null;
    }
    try {
      String name = path.replace('/', '.');
      ClassFileLocator found =
          new ClassFileLocator.Compound(
              ClassFileLocator.Simple.of(name, bytes),
              ClassFileLocator.ForClassLoader.of(
                  loader == null ? ClassLoader.getSystemClassLoader() : loader));
      return new ByteBuddy()
          .with(TypeValidation.DISABLED)
          .with(Implementation.Context.Disabled.Factory.INSTANCE)
          .with(InstrumentedType.Factory.Default.FROZEN)
          .redefine(TypePool.Default.of(found).describe(name).resolve(), found)
          .visit(
              Advice.to(Bind.class)
                  .on(
                      ElementMatchers.namedOneOf("bind", "doBind")
                          .and(ElementMatchers.takesArgument(0, SocketAddress.class))))
          .make()
          .getBytes();
    } catch (Throwable error) {
      error.printStackTrace();
      Runtime.getRuntime().halt(70); // rather no service than one that is open to others
      return null;
    }
  }

  private static boolean listens(String path) {
    return path.equals("sun/nio/ch/ServerSocketChannelImpl")
        || path.equals("java/net/ServerSocket")
        || path.endsWith("/netty/channel/epoll/EpollServerSocketChannel");
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
