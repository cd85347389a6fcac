/**
 * Runs Beam's job server for Flink, which sends the jars of its class path along with each job.
 * The local cluster has them already, so here the class path is hidden once it is loaded: a job
 * starts ten seconds sooner. Java runs this file as it is (JEP 330).
 */
final class JobServer {
  public static void main(String[] words) throws Exception {
    System.setProperty("java.class.path", System.getProperty("pubner.staged"));
    org.apache.beam.runners.flink.FlinkJobServerDriver.main(words);
  }
}
