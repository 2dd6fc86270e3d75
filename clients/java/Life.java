import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import tasques.ApiClient;
import tasques.ApiException;
import tasques.api.TasksApi;
import tasques.model.Claim;
import tasques.model.NewReport;
import tasques.model.NewTask;
import tasques.model.Success;
import tasques.model.Task;
import tasques.model.TaskState;

/** The life of a task with the generated Java client: java Life ADDRESS USER PASSWORD */
public final class Life {
  private static final String WORKER = "java-worker";

  private final ApiClient client = new ApiClient();
  private final TasksApi tasks;

  /** Without a user if that is null. */
  private Life(String address, String user, String password) {
    client.updateBaseUri(address);
    if (user != null) {
      byte[] pair = (user + ":" + password).getBytes(StandardCharsets.UTF_8);
      String said = "Basic " + Base64.getEncoder().encodeToString(pair);
      client.setRequestInterceptor(request -> request.header("Authorization", said));
    }
    tasks = new TasksApi(client);
  }

  public static void main(String[] arguments) throws Exception {
    Life life = new Life(arguments[0], arguments[1], arguments[2]);
    life.live();
    life.refused(404, "task_not_found");
    new Life(arguments[0], null, null).refused(401, "not_authenticated");
    System.out.println("java: a task lived");
  }

  private void live() throws ApiException {
    NewTask wanted = new NewTask().id("a/java").queue("life-java").kind("greet")
        .priority(Long.MAX_VALUE).args(Map.of("name", "Ada"));
    Task created = tasks.createTask(wanted);
    check(created.getState() == TaskState.QUEUED, created);
    check(created.getPriority() == Long.MAX_VALUE, created);
    check(created.getLastClaimed() == null, created);

    Claim claim = new Claim().queues(List.of(created.getQueue())).blockFor("10s");
    List<Task> claimed = tasks.claimTasks(WORKER, claim);
    check(claimed.size() == 1 && "Ada".equals(claimed.get(0).getArgs().get("name")), claimed);

    NewReport report = new NewReport().data(Map.of("percent", 50));
    Task reported =
        tasks.reportOnClaimedTask(created.getQueue(), created.getId(), WORKER, report);
    Object percent = reported.getLastClaimed().getLastReport().getData().get("percent");
    check(percent.equals(50), reported);

    Success success = new Success().data(Map.of("said", "Hello, Ada"));
    tasks.markClaimedTaskDone(created.getQueue(), created.getId(), WORKER, success);
    Task done = tasks.getExistingTask(created.getQueue(), created.getId());
    check(done.getState() == TaskState.DONE, done);
    Object said = done.getLastClaimed().getResult().getSuccess().get("said");
    check("Hello, Ada".equals(said), done);
  }

  private void refused(int status, String code) throws Exception {
    try {
      tasks.getExistingTask("life-java", "nowhere");
    } catch (ApiException refusal) {
      check(refusal.getCode() == status, refusal);
      tasques.model.Error error =
          client.getObjectMapper().readValue(refusal.getResponseBody(), tasques.model.Error.class);
      check(code.equals(error.getCode()), error);
      return;
    }
    check(false, "a task that is nowhere was found");
  }

  private static void check(boolean isRight, Object found) {
    if (!isRight) {
      throw new AssertionError(found);
    }
  }
}
