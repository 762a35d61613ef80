package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// replica is one process: a controller, or the webhook.
type replica struct {
	process *exec.Cmd
	metrics string // address
	health  string // likewise; "" where nobody looks
	log     string
}

func startReplica(ctx context.Context, o options, c *cluster, dir string, number int) (*replica, error) {
	port := 18080 + 10*number
	r := &replica{metrics: fmt.Sprintf("127.0.0.1:%d", port), log: filepath.Join(dir, fmt.Sprintf("controller-%d.log", number))}
	r.process = exec.CommandContext(ctx, o.controller, "--kubeconfig", c.kubeconfig, "--namespace", own, "--agent-tls-secret=", "--agent-tls-dir="+dir,
		"--metrics-addr="+r.metrics, fmt.Sprintf("--health-addr=127.0.0.1:%d", port+1), fmt.Sprintf("--ui-addr=127.0.0.1:%d", port+2), "--webhook-config=", "--log-format=text")
	r.process.Env = append(os.Environ(), fmt.Sprintf("POD_NAME=controller-%d", number), "GOGC=50", "DETNET_MEMORY_LIMIT=536870912") // as in the chart
	return r, r.start()
}

// start starts it with its log.
func (r *replica) start() error {
	file, err := os.Create(r.log)
	if err != nil {
		return err
	}
	defer file.Close()
	r.process.Stdout, r.process.Stderr = file, file
	if err := r.process.Start(); err != nil {
		return fmt.Errorf("start %s: %w", r.process.Path, err)
	}
	return nil
}

// kill ends it by SIGKILL.
func (r *replica) kill() {
	_ = r.process.Process.Kill() // it may have ended
	_ = r.process.Wait()
}

// used is its processor time, and its resident memory in octets.
func (r *replica) used() (cpu time.Duration, resident int64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.process.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read what a controller uses: %w", err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, pages * int64(os.Getpagesize()), nil
}

// pages is what of its resident memory is files, most of it the program's own, MiB: the kernel
// takes it back where it is short.
func (r *replica) pages() (sum float64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.process.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read what a controller has: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		var kind string
		var kib float64
		if _, err := fmt.Sscan(line, &kind, &kib); err == nil && (kind == "RssFile:" || kind == "RssShmem:") {
			sum += kib / 1024
		}
	}
	return sum, nil
}

// waited is for how long its threads were ready to run and had no core, in all: what
// the machine is short of, and not the program.
func (r *replica) waited() (sum time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", r.process.Process.Pid)) // the pattern is well-formed
	for _, task := range tasks {
		var ran, waited int64
		if text, err := os.ReadFile(task); err == nil { // it may have ended
			if _, err := fmt.Sscan(string(text), &ran, &waited); err == nil {
				sum += time.Duration(waited)
			}
		}
	}
	return sum
}

// scrape reads its metrics. Where this machine is busier than the server waits for its
// own answer, it asks again.
func (r *replica) scrape(ctx context.Context) (families map[string]*dto.MetricFamily, err error) {
	for range 3 {
		if families, err = r.ask(ctx); err == nil {
			break
		}
	}
	return families, err
}

func (r *replica) ask(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w", r.process.Path, err)
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}

const tickMetric = "detnet_tick_duration_seconds"

// ticks is the histogram of its ticks; nil: it has not led.
func (r *replica) ticks(ctx context.Context) (*dto.Histogram, error) {
	return r.histogram(ctx, tickMetric)
}

// quantile is the upper bound of the bucket in which q of what came between two
// states of a histogram lies, s; 0 where nothing did. What is beyond all buckets
// counts as the last finite bound.
func quantile(before, after *dto.Histogram, q float64) float64 {
	total := after.GetSampleCount() - before.GetSampleCount()
	if total == 0 {
		return 0
	}
	for i, b := range after.GetBucket() {
		n := b.GetCumulativeCount()
		if before != nil && i < len(before.GetBucket()) {
			n -= before.GetBucket()[i].GetCumulativeCount()
		}
		if float64(n) >= q*float64(total) && !math.IsInf(b.GetUpperBound(), 1) {
			return b.GetUpperBound()
		}
	}
	last := 0.0
	for _, b := range after.GetBucket() {
		if !math.IsInf(b.GetUpperBound(), 1) {
			last = b.GetUpperBound()
		}
	}
	return last
}
