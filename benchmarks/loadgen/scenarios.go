package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"strconv"
	"sync/atomic"
	"time"
)

const js = "application/json"

// task holds what the generator reads from a task in a reply.
type task struct {
	ID    string `json:"id"`
	Queue string `json:"queue"`
	State string `json:"state"`
	Args  struct {
		T int64 `json:"t"`
	} `json:"args"`
	LastClaimed *struct {
		WorkerID   string    `json:"worker_id"`
		TimesOutAt time.Time `json:"times_out_at"`
	} `json:"last_claimed"`
}

func (r *run) taskID(i int) string { return r.id + "-" + strconv.Itoa(i) }

// create enqueues task i and reports whether the server took it.
func (r *run) create(c *conn, rc *rec, i int, buf *[]byte) bool {
	q := r.qs[i%len(r.qs)]
	id := r.taskID(i)
	t0 := time.Now()
	b := (*buf)[:0]
	b = append(b, '{')
	if !r.o.serverIDs {
		b = append(b, `"id":"`...)
		b = append(b, id...)
		b = append(b, `",`...)
	}
	b = append(b, `"queue":"`...)
	b = append(b, q...)
	b = append(b, `","kind":"bench",`...)
	if r.o.procTimeout != "" {
		b = append(b, `"processing_timeout":"`+r.o.procTimeout+`",`...)
	}
	if r.o.retryTimes >= 0 {
		b = append(b, `"retry_times":`+strconv.Itoa(r.o.retryTimes)+`,`...)
	}
	b = append(b, `"args":{"t":`...)
	b = strconv.AppendInt(b, t0.UnixNano(), 10)
	b = append(b, `,"pad":"`...)
	b = append(b, r.pad...)
	b = append(b, `"}}`...)
	*buf = b
	st, body, err := c.do("POST", "/tasques", "", js, b)
	rc.add("create", time.Since(t0), st, body, err)
	if err != nil {
		time.Sleep(50 * time.Millisecond)
		return false
	}
	if st >= 300 {
		return false
	}
	if r.o.serverIDs {
		var t task
		if json.Unmarshal(body, &t) != nil || t.ID == "" {
			return false
		}
		id = t.ID
	}
	r.trk.created(id, q)
	return true
}

// fill creates n tasks over k connections and returns how many were taken.
func (r *run) fill(n, k int, deadline time.Time) int {
	if r.o.batch > 0 {
		return r.fillBatches(n, k, deadline)
	}
	var next, ok atomic.Int64
	wg := r.each(k, r.tg, func(_ int, c *conn, rc *rec, _ *rand.Rand) {
		var buf []byte
		for {
			i := int(next.Add(1)) - 1
			if i >= n || time.Now().After(deadline) {
				return
			}
			if r.create(c, rc, i, &buf) {
				ok.Add(1)
			}
		}
	})
	wg.Wait()
	return int(ok.Load())
}

func (r *run) enqueue() {
	r.w.begin()
	t0 := time.Now()
	ok := r.fill(r.o.n, r.o.c, t0.Add(r.o.timeout))
	r.wall = time.Since(t0)
	r.w.end()
	r.out["n"] = ok
	r.out["throughput_per_s"] = r3(float64(ok) / r.wall.Seconds())
}

// get reads tasks one by one.
func (r *run) get() {
	k := 500
	if r.o.n < k {
		k = r.o.n
	}
	r.fill(k, 4, time.Now().Add(r.o.timeout))
	r.all = newRec()
	var next, ok atomic.Int64
	r.w.begin()
	t0 := time.Now()
	r.each(r.o.c, r.tg, func(_ int, c *conn, rc *rec, _ *rand.Rand) {
		for {
			i := int(next.Add(1)) - 1
			if i >= r.o.n || time.Since(t0) > r.o.timeout {
				return
			}
			i %= k
			s := time.Now()
			st, body, err := c.do("GET", "/tasques/"+r.qs[i%len(r.qs)]+"/"+r.taskID(i), "", js, nil)
			rc.add("get", time.Since(s), st, body, err)
			if err == nil && st == 200 {
				ok.Add(1)
			}
		}
	}).Wait()
	r.wall = time.Since(t0)
	r.w.end()
	r.out["throughput_per_s"] = r3(float64(ok.Load()) / r.wall.Seconds())
}

func (r *run) worker(i int) string { return "lg-" + r.id + "-w" + strconv.Itoa(i) }

func (r *run) claimBody(i int) []byte {
	qs := r.qs
	if r.o.affinity {
		qs = r.qs[i%len(r.qs) : i%len(r.qs)+1]
	}
	m := map[string]any{"queues": qs, "amount": r.o.amount}
	if r.o.blockFor != "" {
		m["block_for"] = r.o.blockFor
	}
	b, _ := json.Marshal(m)
	return b
}

// claim asks once and gives what was handed out.
func (r *run) claim(c *conn, rc *rec, wid string, body []byte) []task {
	s := time.Now()
	st, b, err := c.do("POST", "/tasques/claims", wid, js, body)
	d := time.Since(s)
	if err != nil || st != 200 {
		rc.add("claim", d, st, b, err)
		time.Sleep(50 * time.Millisecond)
		return nil
	}
	var ts []task
	if err := json.Unmarshal(b, &ts); err != nil {
		rc.add("claim", d, 0, nil, fmt.Errorf("bad claim reply: %w", err))
		return nil
	}
	op := "claim"
	if len(ts) == 0 {
		op = "claim_empty"
	} else if len(ts) < r.o.amount {
		op = "claim_partial"
	}
	rc.add(op, d, st, b, nil)
	for i := range ts {
		t := &ts[i]
		if t.LastClaimed == nil {
			rc.add("claim", d, 0, nil, fmt.Errorf("claimed task without last_claimed"))
			continue
		}
		r.trk.handed(t.ID, t.Queue, wid, t.LastClaimed.WorkerID, t.LastClaimed.TimesOutAt)
	}
	return ts
}

// finish sends done, failed, unclaim or a report and keeps the tracker's books.
func (r *run) finish(c *conn, rc *rec, op, wid string, t *task) int {
	m, p, body := "PUT", "/tasques/"+op+"/"+t.Queue+"/"+t.ID, []byte(`{"data":{"ok":true}}`)
	after := uint8(stFree)
	switch op {
	case "done":
		after = stDone
	case "unclaim":
		m, p, body = "DELETE", "/tasques/claims/"+t.Queue+"/"+t.ID, nil
		r.trk.set(t.ID, wid, stReleasing)
	case "failed":
		r.trk.set(t.ID, wid, stReleasing)
	}
	s := time.Now()
	st, b, err := c.do(m, p, wid, js, body)
	rc.add(op, time.Since(s), st, b, err)
	if err != nil || st >= 300 {
		if op != "reports" {
			r.trk.set(t.ID, wid, stUnknown)
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond)
		}
		return st
	}
	if op == "reports" {
		var nt task
		if json.Unmarshal(b, &nt) == nil && nt.LastClaimed != nil {
			r.trk.extend(t.ID, wid, nt.LastClaimed.TimesOutAt)
		}
		return st
	}
	r.trk.set(t.ID, wid, after)
	return st
}

// drain fills the queues, then has W workers empty them. With chaos, workers
// also fail, unclaim, report on and silently drop tasks.
func (r *run) drain(chaos bool) {
	f0 := time.Now()
	n := r.fill(r.o.n, r.o.c, f0.Add(r.o.timeout))
	r.out["fill_s"] = r3(time.Since(f0).Seconds())
	r.out["n"] = n
	time.Sleep(r.o.settle)
	fill := r.all
	r.all = newRec()
	r.w.begin()
	t0 := time.Now()
	deadline := t0.Add(r.o.timeout)
	var lastDone, dead atomic.Int64
	wg := r.each(r.o.w, r.tg2, func(i int, c *conn, rc *rec, rnd *rand.Rand) {
		wid, body := r.worker(i), r.claimBody(i)
		for time.Now().Before(deadline) && int(r.trk.doneCount()+dead.Load()) < n {
			ts := r.claim(c, rc, wid, body)
			if r.o.batchResults && len(ts) > 0 && !chaos {
				if r.finishBatch(c, rc, wid, ts) > 0 {
					lastDone.Store(int64(time.Since(t0)))
				}
				continue
			}
			for k := range ts {
				t := &ts[k]
				if r.o.work > 0 {
					time.Sleep(r.o.work)
				}
				op := "done"
				if chaos {
					if rnd.Float64() < r.o.pReport {
						r.finish(c, rc, "reports", wid, t)
					}
					switch x := rnd.Float64(); {
					case x < r.o.pDrop:
						continue
					case x < r.o.pDrop+r.o.pUnclaim:
						op = "unclaim"
					case x < r.o.pDrop+r.o.pUnclaim+r.o.pFail:
						op = "failed"
					}
				}
				if r.finish(c, rc, op, wid, t) == 200 && op == "done" {
					lastDone.Store(int64(time.Since(t0)))
				}
			}
		}
	})
	wg.Wait()
	r.w.end()
	r.wall = time.Duration(lastDone.Load())
	if r.wall == 0 {
		r.wall = time.Since(t0)
	}
	done := r.trk.doneCount()
	r.out["completed"] = done
	r.out["throughput_per_s"] = r3(float64(done) / r.wall.Seconds())
	r.out["ended"] = map[bool]string{true: "all done", false: "timeout"}[int(done) >= n]
	r.out["fill"] = fill.summary(time.Since(f0))
	r.audit(2000)
	r.trk.report(r.out)
}

// audit asks the server about tasks that were taken but not seen done.
func (r *run) audit(limit int) {
	ids, es := r.trk.open()
	left := map[string]int{}
	c := newConn(r.tg, r.o.reqTimeout)
	defer c.close()
	lost, orphan := 0, 0
	for i, id := range ids {
		if i >= limit {
			left["not_asked"] = len(ids) - limit
			break
		}
		st, b, err := c.do("GET", "/tasques/"+es[i].queue+"/"+id, "", js, nil)
		switch {
		case err != nil:
			left["io"]++
		case st == 404:
			lost++
		case st == 200:
			var t task
			json.Unmarshal(b, &t)
			left[t.State]++
			if t.State == "claimed" && es[i].state != stHeld {
				orphan++ // claimed in the store, but no reply ever handed it to a worker
			}
		default:
			left[strconv.Itoa(st)]++
		}
	}
	r.out["lost"] = lost
	r.out["claimed_but_never_handed_out"] = orphan
	r.out["left"] = left
}

func (r *run) mixed() {
	// The queues exist before the clock starts, so that index creation is not measured.
	r.warmQueues()
	r.w.begin()
	t0 := time.Now()
	end := t0.Add(r.o.dur)
	grace := end.Add(10 * time.Second)
	var made atomic.Int64
	var stopped atomic.Bool
	var next atomic.Int64
	next.Store(int64(len(r.qs)) * 1000000)
	gap := time.Duration(0)
	if r.o.rate > 0 {
		gap = time.Duration(float64(time.Second) * float64(r.o.producers) / r.o.rate)
	}
	pw := r.each(r.o.producers, r.tg, func(i int, c *conn, rc *rec, _ *rand.Rand) {
		var buf []byte
		at := t0.Add(gap * time.Duration(i) / time.Duration(r.o.producers))
		for time.Now().Before(end) {
			if gap > 0 {
				if d := time.Until(at); d > 0 {
					time.Sleep(d)
				}
				at = at.Add(gap)
			}
			if r.create(c, rc, int(next.Add(1)), &buf) {
				made.Add(1)
			}
		}
	})
	var inTime atomic.Int64
	ww := r.each(r.o.w, r.tg2, func(i int, c *conn, rc *rec, _ *rand.Rand) {
		wid, body := r.worker(i), r.claimBody(i)
		for {
			now := time.Now()
			if now.After(grace) || (stopped.Load() && r.trk.doneCount() >= made.Load()) || (r.o.rate == 0 && now.After(end)) {
				return
			}
			ts := r.claim(c, rc, wid, body)
			got := time.Now()
			for k := range ts {
				if got.Sub(t0) > r.o.warm && ts[k].Args.T > 0 {
					rc.lat["e2e_create_to_claim"] = append(rc.lat["e2e_create_to_claim"], got.UnixNano()-ts[k].Args.T)
				}
				if r.o.work > 0 {
					time.Sleep(r.o.work)
				}
				if r.finish(c, rc, "done", wid, &ts[k]) == 200 && time.Now().Before(end) {
					inTime.Add(1)
				}
			}
		}
	})
	pw.Wait()
	stopped.Store(true)
	r.wall = time.Since(t0)
	ww.Wait()
	r.w.end()
	r.out["created"] = made.Load()
	r.out["completed"] = r.trk.doneCount()
	r.out["create_per_s"] = r3(float64(made.Load()) / r.wall.Seconds())
	r.out["throughput_per_s"] = r3(float64(inTime.Load()) / r.o.dur.Seconds())
	r.audit(500)
	r.trk.report(r.out)
}

// warmQueues makes every queue exist and leaves it empty.
func (r *run) warmQueues() {
	n := r.fill(len(r.qs), 1, time.Now().Add(r.o.timeout))
	c, rc := newConn(r.tg, r.o.reqTimeout), newRec()
	defer c.close()
	body, _ := json.Marshal(map[string]any{"queues": r.qs, "amount": 1, "block_for": "3s"})
	for try := 0; try < 20+n && int(r.trk.doneCount()) < n; try++ {
		for _, t := range r.claim(c, rc, "lg-warm", body) {
			r.finish(c, rc, "done", "lg-warm", &t)
		}
	}
	time.Sleep(r.o.settle)
	r.trk = newTracker()
	r.all = newRec()
}

func (r *run) idle() {
	r.warmQueues()
	r.w.begin()
	t0 := time.Now()
	r.each(r.o.w, r.tg, func(i int, c *conn, rc *rec, _ *rand.Rand) {
		wid, body := r.worker(i), r.claimBody(i)
		for time.Since(t0) < r.o.dur {
			r.claim(c, rc, wid, body)
		}
	}).Wait()
	r.wall = time.Since(t0)
	r.w.end()
	r.out["throughput_per_s"] = r3(float64(len(r.all.lat["claim_empty"])) / r.wall.Seconds())
	r.trk.report(r.out)
}

// reportIn has every worker claim one task and report on it for the duration.
func (r *run) reportIn() {
	if !r.o.affinity {
		r.qs = r.qs[:0]
		for i := 0; i < r.o.w; i++ { // a queue each, so that claims do not get in each other's way
			r.qs = append(r.qs, fmt.Sprintf("%s-%s-%d", r.o.prefix, r.id, i))
		}
		r.o.affinity = true
	}
	r.fill(r.o.w, 4, time.Now().Add(r.o.timeout))
	time.Sleep(r.o.settle)
	ts := make([]*task, r.o.w)
	r.each(r.o.w, r.tg, func(i int, c *conn, rc *rec, _ *rand.Rand) {
		for try := 0; try < 30 && ts[i] == nil; try++ {
			if got := r.claim(c, rc, r.worker(i), r.claimBody(i)); len(got) > 0 {
				ts[i] = &got[0]
			}
		}
	}).Wait()
	r.all = newRec()
	r.w.begin()
	t0 := time.Now()
	var ok atomic.Int64
	r.each(r.o.w, r.tg, func(i int, c *conn, rc *rec, _ *rand.Rand) {
		for ts[i] != nil && time.Since(t0) < r.o.dur {
			if r.finish(c, rc, "reports", r.worker(i), ts[i]) == 200 {
				ok.Add(1)
			}
		}
	}).Wait()
	r.wall = time.Since(t0)
	r.w.end()
	r.out["throughput_per_s"] = r3(float64(ok.Load()) / r.wall.Seconds())
	r.trk.report(r.out)
}
