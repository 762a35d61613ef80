package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// Parts says where the time of the served creates went.
type Parts struct {
	// Calls of the webhook in the meantime.
	Calls int `json:"calls"`
	// Waited is what the API server's own metric says a call took, with the
	// encoding of the review and the network: the mean, in milliseconds.
	Waited float64 `json:"api_server_mean_ms"`
	// Worked is the webhook's own time from a decoded pod to its patch, in
	// milliseconds. Quantiles are interpolated within a factor of two.
	Worked    float64   `json:"webhook_mean_ms"`
	WorkedAt  Quantiles `json:"webhook_ms"`
	CPU       float64   `json:"webhook_cpu_ms_per_call"`
	LoadFrom  string    `json:"load_average_from"`
	LoadUntil string    `json:"load_average_until"`
}

// figures are the counters that Parts is the difference of.
type figures struct {
	calls, waited float64            // of the API server; seconds
	work          map[string]float64 // the webhook's series, summed over replicas
	load          string
}

const (
	callSeries = `apiserver_admission_webhook_admission_duration_seconds`
	workSeries = `detnet_webhook_duration_seconds`
	cpuSeries  = `process_cpu_seconds_total`
)

func (b *bench) snapshot(ctx context.Context) (figures, error) {
	f := figures{work: map[string]float64{}}
	raw, err := b.client.CoreV1().RESTClient().Get().AbsPath("/metrics").Stream(ctx)
	if err != nil {
		return f, fmt.Errorf("read the API server's metrics: %w", err)
	}
	defer raw.Close()
	if err := series(raw, func(name, labels string, value float64) {
		if !strings.Contains(labels, `name="pods.detnet.dev"`) {
			return
		}
		switch name {
		case callSeries + "_count":
			f.calls += value
		case callSeries + "_sum":
			f.waited += value
		}
	}); err != nil {
		return f, fmt.Errorf("read the API server's metrics: %w", err)
	}
	pods, err := b.webhookPods(ctx)
	if err != nil {
		return f, err
	}
	for _, p := range pods {
		if err := b.scrape(ctx, address(p, "8080"), f.work); err != nil {
			return f, fmt.Errorf("read the metrics of %s: %w", p.Name, err)
		}
	}
	load, _ := os.ReadFile("/proc/loadavg") // informative; empty elsewhere
	f.load, _, _ = strings.Cut(string(load), " ")
	return f, nil
}

// scrape adds the webhook's series to sums.
func (b *bench) scrape(ctx context.Context, addr string, sums map[string]float64) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return err
	}
	response, err := b.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return series(response.Body, func(name, labels string, value float64) {
		if name == cpuSeries || strings.HasPrefix(name, workSeries) {
			sums[name+labels] += value
		}
	})
}

// series reads Prometheus's text format as far as the sums here need it: label
// values with spaces and timestamps do not occur in the series used.
func series(r io.Reader, see func(name, labels string, value float64)) error {
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		line := scanner.Text()
		space := strings.LastIndexByte(line, ' ')
		if space < 0 || line[0] == '#' {
			continue
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			return fmt.Errorf("metric %q: %w", line, err)
		}
		name, labels := line[:space], ""
		if open := strings.IndexByte(name, '{'); open >= 0 {
			name, labels = name[:open], name[open:]
		}
		see(name, labels, value)
	}
	return scanner.Err()
}

func (f figures) since(before figures) Parts {
	work := map[string]float64{}
	for k, v := range f.work {
		work[k] = v - before.work[k]
	}
	p := Parts{Calls: int(f.calls - before.calls), LoadFrom: before.load, LoadUntil: f.load}
	if p.Calls > 0 {
		p.Waited = 1000 * (f.waited - before.waited) / float64(p.Calls)
		p.CPU = 1000 * work[cpuSeries] / float64(p.Calls)
	}
	if n := work[workSeries+"_count"]; n > 0 {
		p.Worked = 1000 * work[workSeries+"_sum"] / n
		p.WorkedAt = Quantiles{histogramQuantile(work, 0.50), histogramQuantile(work, 0.90), histogramQuantile(work, 0.99)}
	}
	return p
}

// histogramQuantile interpolates in the webhook's histogram, in milliseconds.
// Above the last bound it is that bound.
func histogramQuantile(work map[string]float64, q float64) float64 {
	rank := q * work[workSeries+"_count"]
	bound, below := 0.0, 0.0
	for {
		next, cumulative := math.Inf(1), 0.0
		for k, v := range work {
			if le, ok := upperBound(k); ok && le > bound && le < next {
				next, cumulative = le, v
			}
		}
		if math.IsInf(next, 1) {
			return 1000 * bound
		}
		if cumulative >= rank && cumulative > below {
			return 1000 * (bound + (next-bound)*(rank-below)/(cumulative-below))
		}
		bound, below = next, cumulative
	}
}

func upperBound(key string) (float64, bool) {
	text, ok := strings.CutPrefix(key, workSeries+`_bucket{le="`)
	if !ok {
		return 0, false
	}
	le, err := strconv.ParseFloat(strings.TrimSuffix(text, `"}`), 64)
	return le, err == nil
}
