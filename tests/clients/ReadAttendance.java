// Reads the attendance of one placement many times through small flow-control windows, with grpc-java.
//
// Usage: ReadAttendance HOST:PORT CA.pem CERTIFICATE.pem KEY.pem PLACEMENT MARKS READS WINDOW...
// Four calls at a time on one connection for each WINDOW, in bytes; 0 leaves the defaults of grpc-java, which measure
// the bandwidth and widen the window. Fails at the first call that is not answered with MARKS marks.
import apgateway.v1.Returns.GetAttendanceRequest;
import apgateway.v1.ReturnsServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.NettyChannelBuilder;
import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

public final class ReadAttendance {
  public static void main(String[] args) throws Exception {
    int marks = Integer.parseInt(args[5]);
    int reads = Integer.parseInt(args[6]);
    var request =
        GetAttendanceRequest.newBuilder()
            .setPlacementId(args[4])
            .setFromDate("2026-11-01")
            .setToDate("2026-11-30")
            .build();
    for (String window : Arrays.copyOfRange(args, 7, args.length)) {
      var tls =
          GrpcSslContexts.forClient()
              .trustManager(new File(args[1]))
              .keyManager(new File(args[2]), new File(args[3]))
              .protocols("TLSv1.3")
              .build();
      var builder = NettyChannelBuilder.forTarget(args[0]).sslContext(tls);
      if (!window.equals("0")) {
        builder.flowControlWindow(Integer.parseInt(window));
      }
      ManagedChannel channel = builder.build();
      var pool = Executors.newFixedThreadPool(4);
      try {
        var service = ReturnsServiceGrpc.newBlockingStub(channel);
        Callable<Integer> read =
            () -> service.withDeadlineAfter(30, TimeUnit.SECONDS).getAttendance(request).getMarksCount();
        var calls = new ArrayList<Callable<Integer>>();
        for (int i = 0; i < reads; i++) {
          calls.add(read);
        }
        for (var found : pool.invokeAll(calls)) {
          if (found.get() != marks) {
            throw new AssertionError("window " + window + ": " + found.get() + " marks");
          }
        }
        System.out.println("ok " + window);
      } finally {
        pool.shutdown();
        channel.shutdown().awaitTermination(5, TimeUnit.SECONDS);
      }
    }
  }
}
