// Package report shows what a session measured: as text with a histogram, and
// as JSON.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/stats"
)

// Threshold is the wait at the median from which a direction is named.
const Threshold = 200 * time.Microsecond

// Report is one session's result.
type Report struct {
	Session    probe.Session
	Timestamps probe.Source
	Totals     probe.Totals
	Summary    stats.Summary
	Histogram  Histogram
	Err        error            // why the session cannot measure, if it cannot
	Extensions probe.Extensions // that the packets carried
	Heard      probe.Heard
}

// quantiles are stats.Quantiles in milliseconds.
type quantiles struct {
	Min float64 `json:"min_ms"`
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func inMillis(q stats.Quantiles) quantiles {
	return quantiles{Millis(q.Min), Millis(q.P50), Millis(q.P90), Millis(q.P95), Millis(q.P99), Millis(q.Max)}
}

// Millis is d in milliseconds.
func Millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// MarshalJSON implements json.Marshaler. Durations are in milliseconds.
func (r Report) MarshalJSON() ([]byte, error) {
	s := r.Summary
	out := struct {
		Target     string        `json:"target"`
		Protocol   string        `json:"protocol"`
		Timestamps string        `json:"timestamps"`
		Sent       uint64        `json:"sent"`
		Received   uint64        `json:"received"`
		Lost       uint64        `json:"lost"`
		Duplicated uint64        `json:"duplicated"`
		Reordered  uint64        `json:"reordered"`
		Late       uint64        `json:"late"`
		Base       float64       `json:"base_ms"`
		RTT        quantiles     `json:"rtt"`
		PDV        quantiles     `json:"pdv"`
		IPDV       quantiles     `json:"ipdv"`
		Jitter     float64       `json:"rfc3550_jitter_ms"`
		IQR        float64       `json:"iqr_ms"`
		Forward    *quantiles    `json:"forward,omitempty"`
		Backward   *quantiles    `json:"backward,omitempty"`
		Queue      *quantiles    `json:"own_queue,omitempty"`
		Direction  stats.Segment `json:"direction"`
		Routes     int           `json:"route_changes"`
		CoS        *cos          `json:"class_of_service,omitempty"`
		Direct     *direct       `json:"direct_measurement,omitempty"`
		Error      string        `json:"error,omitempty"`
	}{
		Target: r.Target(), Protocol: string(r.Session.Protocol), Timestamps: r.Timestamps.String(),
		Sent: r.Totals.Sent, Received: r.Totals.Received, Lost: r.Totals.Lost,
		Duplicated: r.Totals.Duplicated, Reordered: r.Totals.Reordered, Late: r.Totals.Late,
		Base: Millis(s.Base), RTT: inMillis(s.RTT), PDV: inMillis(s.PDV), IPDV: inMillis(s.IPDV),
		Jitter: Millis(s.Jitter), IQR: Millis(s.IQR),
		Direction: stats.Direction(s, Threshold), Routes: s.RouteChanges,
		CoS: r.cos(), Direct: r.direct(),
	}
	if s.HasOneWay {
		forward, backward := inMillis(s.Forward), inMillis(s.Backward)
		out.Forward, out.Backward = &forward, &backward
	}
	if s.HasQueue {
		queue := inMillis(s.Queue)
		out.Queue = &queue
	}
	if r.Err != nil {
		out.Error = r.Err.Error()
	}
	return json.Marshal(out)
}

// Target is what was probed.
func (r Report) Target() string {
	if r.Session.Port == 0 {
		return r.Session.Host
	}
	return fmt.Sprintf("%s:%d", r.Session.Host, r.Session.Port)
}

// Line is the report so far, in one line for a terminal.
func (r Report) Line() string {
	s := r.Summary
	line := fmt.Sprintf("%s %s  sent %d  lost %d  rtt p50 %.3f  p99 %.3f  pdv p95 %.3f ms",
		r.Session.Protocol, r.Target(), r.Totals.Sent, r.Totals.Lost, Millis(s.RTT.P50), Millis(s.RTT.P99), Millis(s.PDV.P95))
	if r.Err != nil {
		line += "  " + r.Err.Error()
	}
	return line
}

// Text writes the report for people.
func (r Report) Text(w io.Writer) error {
	s, t := r.Summary, r.Totals
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d sent, %d received, %d lost (%.2f %%), %d duplicated, %d reordered, %d late; timestamps by the %s\n",
		r.Session.Protocol, r.Target(), t.Sent, t.Received, t.Lost, 100*float64(t.Lost)/float64(max(t.Sent, 1)),
		t.Duplicated, t.Reordered, t.Late, r.Timestamps)
	if r.Err != nil {
		fmt.Fprintf(&b, "error: %v\n", r.Err)
	}
	if t.Received == 0 {
		_, err := io.WriteString(w, b.String())
		return err
	}
	fmt.Fprintf(&b, "\n%-10s %9s %9s %9s %9s %9s %9s  ms\n", "", "min", "p50", "p90", "p95", "p99", "max")
	row := func(name string, q stats.Quantiles) {
		fmt.Fprintf(&b, "%-10s %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f\n",
			name, Millis(q.Min), Millis(q.P50), Millis(q.P90), Millis(q.P95), Millis(q.P99), Millis(q.Max))
	}
	row("rtt", s.RTT)
	row("pdv", s.PDV)
	row("ipdv", s.IPDV)
	if s.HasOneWay {
		row("forward", s.Forward)
		row("backward", s.Backward)
	}
	if s.HasQueue {
		row("own queue", s.Queue)
	}
	fmt.Fprintf(&b, "base %.3f ms, RFC 3550 jitter %.3f ms, interquartile range %.3f ms, waits: %s\n",
		Millis(s.Base), Millis(s.Jitter), Millis(s.IQR), stats.Direction(s, Threshold))
	if n := s.Samples - s.Lost; n < 1000 {
		fmt.Fprintf(&b, "a p99 needs 1000 packets, these are %d\n", n)
	}
	r.extensions(&b)
	b.WriteByte('\n')
	r.Histogram.write(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// perOctave is how many buckets a doubling of the round trip has.
const perOctave = 4

// Histogram counts round trips in buckets that grow by a fourth root of two.
type Histogram map[int]int

// Add counts the answered samples.
func (h Histogram) Add(samples []probe.Sample) {
	for _, s := range samples {
		if !s.Lost && s.RTT > 0 {
			h[int(math.Floor(math.Log2(float64(s.RTT))*perOctave))]++
		}
	}
}

// write draws the histogram with a bar a bucket, merged until it fits.
func (h Histogram) write(b *strings.Builder) {
	const rows, width = 20, 50
	low, high, total := math.MaxInt, math.MinInt, 0
	for bucket, n := range h {
		low, high, total = min(low, bucket), max(high, bucket), total+n
	}
	if total == 0 {
		return
	}
	step := (high-low)/rows + 1
	bars := make([]int, (high-low)/step+1)
	most := 0
	for bucket, n := range h {
		i := (bucket - low) / step
		bars[i] += n
		most = max(most, bars[i])
	}
	for i, n := range bars {
		from := math.Exp2(float64(low+i*step)/perOctave) / float64(time.Millisecond)
		bar := strings.Repeat("█", (n*width+most-1)/most)
		fmt.Fprintf(b, "%9.3f ms %-*s %d\n", from, width, bar, n)
	}
}
