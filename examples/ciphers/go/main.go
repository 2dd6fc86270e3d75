// A worker that ciphers messages, on a client that is generated from the API document. It does
// what worker.py does, one task at a time. `make clients-check` compiles and tries it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tasques"
)

const (
	queue = "messages_and_ciphers"
	pause = 2 * time.Second // after a claim that was not answered well
	limit = 30 * time.Second
)

type worker struct {
	id       string
	tasks    *tasques.TasksAPIService
	messages messages
	failures float64
}

func main() {
	host, _ := os.Hostname()
	server := flag.String("tasques", "http://localhost:8080", "the server")
	elasticsearch := flag.String("elasticsearch", "http://localhost:9200", "where messages are")
	failures := flag.Float64("failures", 0, "share of attempts that fail, from 0 to 1")
	id := flag.String("worker-id", fmt.Sprintf("%s-%d", host, os.Getpid()), "no two have the same")
	flag.Parse()

	configuration := tasques.NewConfiguration()
	configuration.Servers = tasques.ServerConfigurations{{URL: *server}}
	configuration.HTTPClient = &http.Client{Timeout: limit}
	w := worker{
		id:       *id,
		tasks:    tasques.NewAPIClient(configuration).TasksAPI,
		messages: messages{elasticsearch: *elasticsearch, client: http.Client{Timeout: limit}},
		failures: *failures,
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	w.run(ctx)
}

// run works until the context ends; a task that was begun is finished.
func (w *worker) run(ctx context.Context) {
	claim := tasques.NewClaim([]string{queue})
	claim.SetAmount(1)
	claim.SetBlockFor("20s")
	for ctx.Err() == nil {
		// Ending the request withdraws the claim: nothing is lost by it.
		claimed, _, err := w.tasks.ClaimTasks(ctx).WorkerId(w.id).Claim(*claim).Execute()
		if err != nil {
			if ctx.Err() == nil {
				log.Printf("claim: %s", explained(err))
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		for _, task := range claimed {
			if err := w.finish(context.WithoutCancel(ctx), task); err != nil {
				// Its time-out gives it to somebody else.
				log.Printf("task %s: %s", task.Id, explained(err))
			}
		}
	}
}

// finish works on a task, and tells the server how that ended.
func (w *worker) finish(ctx context.Context, task tasques.Task) error {
	ciphered, failure := w.work(ctx, task)
	if failure != nil {
		result := tasques.Failure{Data: map[string]any{"error": failure.Error()}}
		_, _, err := w.tasks.MarkClaimedTaskFailed(ctx, task.Queue, task.Id).
			WorkerId(w.id).Failure(result).Execute()
		return err
	}
	result := tasques.Success{Data: map[string]any{"ciphered": ciphered}}
	_, _, err := w.tasks.MarkClaimedTaskDone(ctx, task.Queue, task.Id).
		WorkerId(w.id).Success(result).Execute()
	return err
}

func (w *worker) work(ctx context.Context, task tasques.Task) (string, error) {
	cipher, ok := ciphers[task.Kind]
	id, isText := task.Args["message_id"].(string)
	if !ok || !isText {
		return "", fmt.Errorf("nothing is known about kind %q with %v", task.Kind, task.Args)
	}
	report := tasques.ReportDraft{Data: map[string]any{"starting": id}}
	_, _, err := w.tasks.ReportOnClaimedTask(ctx, task.Queue, task.Id).
		WorkerId(w.id).ReportDraft(report).Execute()
	if err != nil {
		return "", err
	}
	if rand.Float64() < w.failures {
		return "", errors.New("an attempt was made to fail")
	}
	plain, err := w.messages.plain(ctx, id)
	if err != nil {
		return "", err
	}
	ciphered := cipher.apply(plain)
	return ciphered, w.messages.write(ctx, id, cipher.field, ciphered)
}

// explained is what the server says about an error, if it is one of the server.
func explained(err error) string {
	var answer *tasques.GenericOpenAPIError
	if errors.As(err, &answer) {
		if refusal, ok := answer.Model().(tasques.Error); ok {
			return fmt.Sprintf("%s: %s", refusal.Code, refusal.Message)
		}
	}
	return err.Error()
}
