// A provider's register in Java: lists its placements, submits a mark, shows that a retry changes nothing, and
// shows a refusal.
//
// Usage: Quickstart HOST:PORT CA.pem CERTIFICATE.pem KEY.pem
import apgateway.v1.PlacementOuterClass.ListPlacementsRequest;
import apgateway.v1.PlacementOuterClass.Placement;
import apgateway.v1.PlacementServiceGrpc;
import apgateway.v1.Returns.Mark;
import apgateway.v1.Returns.SubmitAttendanceRequest;
import apgateway.v1.Returns.SubmitAttendanceResponse;
import apgateway.v1.ReturnsServiceGrpc;
import apgateway.v1.Types.Session;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.NettyChannelBuilder;
import java.io.File;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

public final class Quickstart {
  public static void main(String[] args) throws Exception {
    // Mutual TLS 1.3: trust the gateway's CA, and present this system's certificate.
    var tls =
        GrpcSslContexts.forClient()
            .trustManager(new File(args[1]))
            .keyManager(new File(args[2]), new File(args[3]))
            .protocols("TLSv1.3")
            .build();
    ManagedChannel channel = NettyChannelBuilder.forTarget(args[0]).sslContext(tls).build();
    try {
      var placements =
          PlacementServiceGrpc.newBlockingStub(channel).withDeadlineAfter(10, TimeUnit.SECONDS)
              .listPlacements(ListPlacementsRequest.getDefaultInstance());
      Placement placement = placements.getPlacements(0);
      System.out.println("placements: " + placements.getPlacementsCount());

      // The request id makes a retry safe: keep it until the response arrives, and send the same request again.
      var request =
          SubmitAttendanceRequest.newBuilder()
              .setRequestId(UUID.randomUUID().toString())
              .addMarks(
                  Mark.newBuilder()
                      .setPlacementId(placement.getPlacementId())
                      .setDate("2026-09-08")
                      .setSession(Session.SESSION_AM)
                      .setCode("/"))
              .build();
      SubmitAttendanceResponse first = submit(channel, request);
      SubmitAttendanceResponse again = submit(channel, request);
      System.out.println("stored: " + first.getStored() + ", the same answer again: " + first.equals(again));
      System.out.println("entry " + first.getReceipt().getIndex() + " of the log");

      try {
        submit(channel, request.toBuilder().setRequestId("").build());
      } catch (StatusRuntimeException refused) {
        System.out.println("refused: " + refused.getStatus().getCode());
      }
    } finally {
      channel.shutdown().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  private static SubmitAttendanceResponse submit(ManagedChannel channel, SubmitAttendanceRequest request) {
    return ReturnsServiceGrpc.newBlockingStub(channel).withDeadlineAfter(30, TimeUnit.SECONDS)
        .submitAttendance(request);
  }
}
