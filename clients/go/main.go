// The life of a task with the generated Go client: go run . ADDRESS USER PASSWORD
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"os"

	"tasques"
)

const worker = "go-worker"

func main() {
	configuration := tasques.NewConfiguration()
	configuration.Servers = tasques.ServerConfigurations{{URL: os.Args[1]}}
	tasks := tasques.NewAPIClient(configuration).TasksAPI
	user := tasques.BasicAuth{UserName: os.Args[2], Password: os.Args[3]}
	ctx := context.WithValue(context.Background(), tasques.ContextBasicAuth, user)
	if err := live(ctx, tasks); err != nil {
		log.Fatal(err)
	}
	if err := refused(ctx, tasks, "task_not_found"); err != nil {
		log.Fatal(err)
	}
	if err := refused(context.Background(), tasks, "not_authenticated"); err != nil {
		log.Fatal(err)
	}
	fmt.Println("go: a task lived")
}

func live(ctx context.Context, tasks *tasques.TasksAPIService) error {
	draft := tasques.NewTaskDraft("life-go", "greet")
	draft.SetId("a/go")
	draft.SetPriority(math.MaxInt64)
	draft.Args = map[string]any{"name": "Ada"}
	created, _, err := tasks.CreateTask(ctx).TaskDraft(*draft).Execute()
	if err != nil {
		return err
	}
	if created.State != tasques.TASKSTATE_QUEUED || created.Priority != math.MaxInt64 ||
		created.LastClaimed != nil {
		return fmt.Errorf("created as %+v", created)
	}

	claim := tasques.NewClaim([]string{created.Queue})
	claim.SetBlockFor("10s")
	claimed, _, err := tasks.ClaimTasks(ctx).WorkerId(worker).Claim(*claim).Execute()
	if err != nil {
		return err
	}
	if len(claimed) != 1 || claimed[0].Args["name"] != "Ada" {
		return fmt.Errorf("claimed %+v", claimed)
	}

	report := tasques.ReportDraft{Data: map[string]any{"percent": 50}}
	reported, _, err := tasks.ReportOnClaimedTask(ctx, created.Queue, created.Id).
		WorkerId(worker).ReportDraft(report).Execute()
	if err != nil {
		return err
	}
	if reported.LastClaimed.LastReport.Data["percent"] != 50.0 {
		return fmt.Errorf("reported as %+v", reported)
	}

	success := tasques.Success{Data: map[string]any{"said": "Hello, Ada"}}
	_, _, err = tasks.MarkClaimedTaskDone(ctx, created.Queue, created.Id).
		WorkerId(worker).Success(success).Execute()
	if err != nil {
		return err
	}
	done, _, err := tasks.GetExistingTask(ctx, created.Queue, created.Id).Execute()
	if err != nil {
		return err
	}
	if done.State != tasques.TASKSTATE_DONE ||
		done.LastClaimed.Result.Success["said"] != "Hello, Ada" {
		return fmt.Errorf("done as %+v", done)
	}
	return nil
}

func refused(ctx context.Context, tasks *tasques.TasksAPIService, code string) error {
	_, _, err := tasks.GetExistingTask(ctx, "life-go", "nowhere").Execute()
	var answer *tasques.GenericOpenAPIError
	if !errors.As(err, &answer) {
		return fmt.Errorf("no typed error: %w", err)
	}
	if found, ok := answer.Model().(tasques.Error); !ok || found.Code != code {
		return fmt.Errorf("refused with %+v", answer.Model())
	}
	return nil
}
