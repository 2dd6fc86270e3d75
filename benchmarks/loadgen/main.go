// Command loadgen drives a Tasques-compatible HTTP server and prints one JSON
// line per run. Usage: loadgen SCENARIO [flags]; see README.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

type options struct {
	scenario, label, url, es, user, password, watch, prefix string
	n, c, q, payload, w, amount, producers, size            int
	batch, claims, later, priority                          int
	runAt, url2                                             string
	blockFor, procTimeout                                   string
	timeout, dur, warm, settle, reqTimeout, work            time.Duration
	rate                                                    float64
	serverIDs, affinity, batchResults                       bool
	retryTimes                                              int
	pFail, pUnclaim, pDrop, pReport                         float64
	seed                                                    int64
}

type run struct {
	o    options
	tg   *target
	tg2  *target // where the workers go
	es   *target
	id   string // unique per run: task ids, worker ids
	qs   []string
	pad  string
	all  *rec
	mu   sync.Mutex
	trk  *tracker
	w    *watcher
	out  map[string]any
	wall time.Duration
	ncon int
}

func main() {
	if len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-") {
		fmt.Fprintln(os.Stderr, "usage: loadgen sink|enqueue|get|drain|mixed|report-in|ack|claim-due|idle|chaos|raw-create|raw-bulk|raw-search|raw-update|raw-claim [flags]")
		os.Exit(2)
	}
	if os.Args[1] == "sink" {
		sink()
		return
	}
	var o options
	o.scenario = os.Args[1]
	f := flag.NewFlagSet(o.scenario, flag.ExitOnError)
	f.StringVar(&o.label, "label", "", "free text copied to the result (which server, which repetition)")
	f.StringVar(&o.url, "url", "http://127.0.0.1:8080", "the server under test (loopback only)")
	f.StringVar(&o.url2, "url2", "", "a second server, for the workers of mixed, drain and claim-due (empty: the same)")
	f.IntVar(&o.batch, "batch", 0, "tasks in one call when creating (0: one call for each)")
	f.BoolVar(&o.batchResults, "batch-results", false, "drain: finish all tasks of a claim in one call")
	f.IntVar(&o.claims, "claims", 200, "claim-due: claims of each worker")
	f.IntVar(&o.later, "later", 0, "claim-due: more tasks, of a higher priority, scheduled for later")
	f.StringVar(&o.es, "es", "http://127.0.0.1:9200", "Elasticsearch, for the raw-* scenarios (loopback only)")
	f.StringVar(&o.user, "user", "", "basic-auth user")
	f.StringVar(&o.password, "password", "", "basic-auth password")
	f.StringVar(&o.watch, "watch", "", "processes to account, with their descendants: server=PID,es=PID")
	f.StringVar(&o.prefix, "queue-prefix", "lg", "queues are named PREFIX-RUN-0..Q-1")
	f.IntVar(&o.n, "n", 1000, "number of tasks (or operations); at most 2000000")
	f.IntVar(&o.c, "c", 8, "connections that create (enqueue, the filling before drain/chaos) or query")
	f.IntVar(&o.q, "q", 1, "queues")
	f.IntVar(&o.payload, "payload", 256, "bytes of padding in each task's args")
	f.IntVar(&o.w, "w", 8, "workers, one connection each")
	f.IntVar(&o.amount, "amount", 1, "tasks asked for in each claim")
	f.StringVar(&o.blockFor, "block-for", "1s", "block_for in claims (empty: leave out, the server's default)")
	f.StringVar(&o.procTimeout, "processing-timeout", "", "processing_timeout of created tasks (empty: the server's default)")
	f.IntVar(&o.retryTimes, "retry-times", -1, "retry_times of created tasks (-1: the server's default)")
	f.DurationVar(&o.timeout, "timeout", 60*time.Second, "upper bound of the measured part")
	f.DurationVar(&o.dur, "duration", 20*time.Second, "length of mixed, idle, report-in and raw-search")
	f.DurationVar(&o.warm, "warm", 0, "mixed: leave out what happens before this much time")
	f.DurationVar(&o.settle, "settle", 1500*time.Millisecond, "pause between filling and draining (Elasticsearch refreshes once a second)")
	f.DurationVar(&o.reqTimeout, "request-timeout", 60*time.Second, "time-out of one request")
	f.DurationVar(&o.work, "work", 0, "how long a worker holds each claimed task before it reports back")
	f.IntVar(&o.producers, "producers", 4, "mixed: producing connections")
	f.Float64Var(&o.rate, "rate", 0, "mixed: tasks created per second over all producers (0: as fast as they can)")
	f.IntVar(&o.size, "size", 100, "raw-bulk: documents in one request; raw-search: hits")
	f.BoolVar(&o.serverIDs, "server-ids", false, "let the server make task ids")
	f.BoolVar(&o.affinity, "affinity", false, "worker i claims from queue i mod Q only (otherwise each claim names every queue)")
	f.Float64Var(&o.pFail, "p-fail", 0.1, "chaos: share of hand-outs marked failed")
	f.Float64Var(&o.pUnclaim, "p-unclaim", 0.1, "chaos: share unclaimed")
	f.Float64Var(&o.pDrop, "p-drop", 0.05, "chaos: share silently dropped (they time out)")
	f.Float64Var(&o.pReport, "p-report", 0.2, "chaos: share that reports in before the end")
	f.Int64Var(&o.seed, "seed", 1, "chaos: random seed")
	f.Parse(os.Args[2:])
	if o.n < 1 || o.n > 2000000 || o.batch < 0 || o.batch > 1000 || o.later < 0 || o.later > 1000000 || o.c < 1 || o.c > 1024 || o.w < 1 || o.w > 1024 || o.q < 1 || o.q > 256 || o.timeout > time.Hour || o.dur > time.Hour {
		fmt.Fprintln(os.Stderr, "loadgen: a flag is out of bounds")
		os.Exit(2)
	}
	runtime.GOMAXPROCS(2)
	r := &run{o: o, all: newRec(), trk: newTracker(), out: map[string]any{}, id: strconv.FormatInt(time.Now().UnixMilli(), 36)}
	var err error
	if r.tg, err = parseTarget(o.url, o.user, o.password); err == nil {
		if strings.HasPrefix(o.scenario, "raw-") {
			r.es, err = parseTarget(o.es, o.user, o.password)
		}
	}
	r.tg2 = r.tg
	if err == nil && o.url2 != "" {
		r.tg2, err = parseTarget(o.url2, o.user, o.password)
	}
	if err == nil {
		r.w, err = newWatcher(o.watch)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(2)
	}
	for i := 0; i < o.q; i++ {
		r.qs = append(r.qs, fmt.Sprintf("%s-%s-%d", o.prefix, r.id, i))
	}
	r.pad = strings.Repeat("x", o.payload)
	started := time.Now()
	switch o.scenario {
	case "enqueue":
		r.enqueue()
	case "get":
		r.get()
	case "drain":
		r.drain(false)
	case "chaos":
		r.drain(true)
	case "mixed":
		r.mixed()
	case "report-in":
		r.reportIn()
	case "ack":
		r.ack()
	case "claim-due":
		r.claimDue()
	case "idle":
		r.idle()
	case "raw-create", "raw-bulk", "raw-search", "raw-update", "raw-claim":
		r.raw()
	default:
		fmt.Fprintln(os.Stderr, "loadgen: unknown scenario", o.scenario)
		os.Exit(2)
	}
	r.w.report(r.out)
	r.out["scenario"], r.out["label"], r.out["run"] = o.scenario, o.label, r.id
	r.out["started_at"] = started.UTC().Format(time.RFC3339)
	r.out["wall_s"] = r3(r.wall.Seconds())
	r.out["ops"] = r.all.summary(r.wall)
	r.out["status"] = r.all.statuses()
	r.out["connects"] = r.ncon
	if len(r.all.first) > 0 {
		r.out["first_errors"] = r.all.first
	}
	p := map[string]any{}
	f.VisitAll(func(g *flag.Flag) {
		switch g.Name {
		case "watch", "password", "label", "url", "es", "user":
		default:
			if g.Value.String() != g.DefValue {
				p[g.Name] = g.Value.String()
			}
		}
	})
	r.out["params"] = p
	b, _ := json.Marshal(r.out)
	fmt.Println(string(b))
}

// each runs k goroutines with a connection, record and random source of their own.
func (r *run) each(k int, tg *target, fn func(i int, c *conn, rc *rec, rnd *rand.Rand)) *sync.WaitGroup {
	var wg sync.WaitGroup
	for i := 0; i < k; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			c, rc := newConn(tg, r.o.reqTimeout), newRec()
			fn(i, c, rc, rand.New(rand.NewSource(r.o.seed*1000+int64(i))))
			c.close()
			r.mu.Lock()
			r.all.merge(rc)
			r.ncon += c.connects
			r.mu.Unlock()
		}(i)
	}
	return &wg
}
