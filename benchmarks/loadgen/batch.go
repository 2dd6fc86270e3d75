package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"strconv"
	"sync/atomic"
	"time"
)

// outcome is one item of the answer to a batch.
type outcome struct {
	Status int `json:"status"`
}

// outcomes reads the statuses of a batch's items.
func outcomes(st int, body []byte, want int) ([]outcome, error) {
	if st != 200 {
		return nil, fmt.Errorf("status %d", st)
	}
	var b struct {
		Items []outcome `json:"items"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	if len(b.Items) != want {
		return nil, fmt.Errorf("%d items for %d", len(b.Items), want)
	}
	return b.Items, nil
}

// createBatch enqueues tasks from..to-1 in one call and returns how many were taken.
func (r *run) createBatch(c *conn, rc *rec, from, to int, buf *[]byte) int {
	t0 := time.Now()
	b := append((*buf)[:0], `{"tasks":[`...)
	for i := from; i < to; i++ {
		if i > from {
			b = append(b, ',')
		}
		b = append(b, `{"id":"`...)
		b = append(b, r.taskID(i)...)
		b = append(b, `","queue":"`...)
		b = append(b, r.qs[i%len(r.qs)]...)
		b = append(b, `","kind":"bench",`...)
		if r.o.priority != 0 {
			b = append(b, `"priority":`+strconv.Itoa(r.o.priority)+`,`...)
		}
		if r.o.runAt != "" {
			b = append(b, `"run_at":"`+r.o.runAt+`",`...)
		}
		b = append(b, `"args":{"t":`...)
		b = strconv.AppendInt(b, t0.UnixNano(), 10)
		b = append(b, `,"pad":"`...)
		b = append(b, r.pad...)
		b = append(b, `"}}`...)
	}
	b = append(b, `]}`...)
	*buf = b
	st, body, err := c.do("POST", "/tasques/batch", "", js, b)
	d := time.Since(t0)
	var items []outcome
	if err == nil {
		items, err = outcomes(st, body, to-from)
	}
	rc.add("create_batch", d, st, body, err)
	taken := 0
	for i, it := range items {
		if it.Status == 201 {
			taken++
			r.trk.created(r.taskID(from+i), r.qs[(from+i)%len(r.qs)])
		}
	}
	return taken
}

// fillBatches creates n tasks over k connections, many in a call.
func (r *run) fillBatches(n, k int, deadline time.Time) int {
	var next, ok atomic.Int64
	r.each(k, r.tg, func(_ int, c *conn, rc *rec, _ *rand.Rand) {
		var buf []byte
		for {
			to := int(next.Add(int64(r.o.batch)))
			from := to - r.o.batch
			if from >= n || time.Now().After(deadline) {
				return
			}
			if to > n {
				to = n
			}
			ok.Add(int64(r.createBatch(c, rc, from, to, &buf)))
		}
	}).Wait()
	return int(ok.Load())
}

// finishBatch marks all tasks of one claim as done in one call and returns how many were.
func (r *run) finishBatch(c *conn, rc *rec, wid string, ts []task) int {
	b := []byte(`{"results":[`)
	for i := range ts {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"queue":"`+ts[i].Queue+`","id":"`+ts[i].ID+`","outcome":"done","data":{"ok":true}}`...)
	}
	b = append(b, `]}`...)
	s := time.Now()
	st, body, err := c.do("POST", "/tasques/results/batch", wid, js, b)
	d := time.Since(s)
	var items []outcome
	if err == nil {
		items, err = outcomes(st, body, len(ts))
	}
	rc.add("done_batch", d, st, body, err)
	done := 0
	for i := range ts {
		if i < len(items) && items[i].Status == 200 {
			done++
			r.trk.set(ts[i].ID, wid, stDone)
		} else {
			r.trk.set(ts[i].ID, wid, stUnknown)
		}
	}
	return done
}

// claimDue makes one worker claim again and again from a deep queue: what a claim costs there.
func (r *run) claimDue() {
	f0 := time.Now()
	r.out["n"] = r.fill(r.o.n, r.o.c, f0.Add(r.o.timeout))
	r.out["fill_s"] = r3(time.Since(f0).Seconds())
	if r.o.later > 0 {
		// Tasks of a higher priority that are scheduled for later stand before all others.
		id := r.id
		r.id, r.o.priority, r.o.runAt = id+"l", 10, "2099-01-01T00:00:00Z"
		r.out["later"] = r.fillBatches(r.o.later, r.o.c, time.Now().Add(r.o.timeout))
		r.id, r.o.priority, r.o.runAt = id, 0, ""
	}
	time.Sleep(r.o.settle)
	r.all = newRec()
	r.w.begin()
	t0 := time.Now()
	var got atomic.Int64
	r.each(r.o.w, r.tg2, func(i int, c *conn, rc *rec, _ *rand.Rand) {
		wid, body := r.worker(i), r.claimBody(i)
		for k := 0; k < r.o.claims && time.Since(t0) < r.o.timeout; k++ {
			got.Add(int64(len(r.claim(c, rc, wid, body))))
			time.Sleep(r.o.work)
		}
	}).Wait()
	r.wall = time.Since(t0)
	r.w.end()
	r.out["throughput_per_s"] = r3(float64(got.Load()) / r.wall.Seconds())
	r.trk.report(r.out)
}

// ack measures acknowledgements while clients send batches beside them.
func (r *run) ack() {
	var stop atomic.Bool
	load := r.each(r.o.producers, r.tg, func(i int, c *conn, rc *rec, _ *rand.Rand) {
		var buf []byte
		for n := (i + 1) * 10_000_000; !stop.Load(); n += r.o.batch {
			r.createBatch(c, rc, n, n+r.o.batch, &buf)
		}
	})
	r.reportIn()
	stop.Store(true)
	load.Wait()
}
