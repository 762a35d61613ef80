package report

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/agent/probe/stats"
	"github.com/detnet/detnet/workload"
)

func sampleReport() Report {
	samples := make([]probe.Sample, 100)
	for i := range samples {
		samples[i] = probe.Sample{RTT: time.Millisecond + time.Duration(i)*10*time.Microsecond, HasOneWay: true,
			Forward: time.Millisecond / 2, Backward: time.Millisecond/2 + time.Duration(i)*10*time.Microsecond}
	}
	series := stats.New(100)
	series.Add(samples, time.Minute)
	r := Report{
		Result: probe.Result{
			Session:    probe.Session{Protocol: workload.STAMP, Host: "10.0.0.1", Port: 862, Interval: 20 * time.Millisecond},
			Addr:       netip.MustParseAddrPort("10.0.0.1:862"),
			Timestamps: probe.SourceKernel,
			Totals:     probe.Totals{Sent: 101, Received: 100, Lost: 1},
			Sending:    2 * time.Second,
		},
		Summary:   series.Summary(),
		Histogram: Histogram{},
	}
	r.Histogram.Add(samples)
	return r
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := sampleReport().Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"stamp 10.0.0.1:862: 101 sent, 100 received, 1 (0.99 %) lost", "timestamps by the kernel", "50.0 packets a second (50.0 asked for)",
		"\nrtt            1.000     1.490", "\nbackward ", "waits: far-egress", "a p99 needs 1000 packets, these are 100", "█"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, b.String())
		}
	}
	b.Reset()
	r := Report{Result: probe.Result{Session: probe.Session{Protocol: workload.ICMP, Host: "h", Interval: time.Second},
		Totals: probe.Totals{Sent: 3, Lost: 3}, Blind: 2 * time.Second, Err: errors.New("no route")}}
	if err := r.Text(&b); err != nil || strings.Contains(b.String(), "rtt") || strings.Contains(b.String(), "timestamps by") ||
		!strings.Contains(b.String(), "3 (100.00 %) lost") || !strings.Contains(b.String(), "for 2.0 s nothing was measured, and is not now: no route") {
		t.Errorf("nothing received: %v\n%s", err, b.String())
	}
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(sampleReport())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Target    string
		Direction string
		Sent      int
		RTT       map[string]float64
		Backward  map[string]float64
		Queue     any `json:"own_queue"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Target != "10.0.0.1:862" || got.Direction != "far-egress" || got.Sent != 101 || got.RTT["p50_ms"] != 1.49 || got.Backward["max_ms"] == 0 || got.Queue != nil {
		t.Errorf("%s", b)
	}
}

// What the reflector said in its extensions is shown, and also that it said
// nothing.
func TestExtensions(t *testing.T) {
	r := sampleReport()
	r.Session.DSCP = 46
	r.Extensions = probe.Extensions{ClassOfService: true, ReplyDSCP: 10, DirectMeasurement: true}
	text := func() string {
		var b strings.Builder
		if err := r.Text(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, want := range []string{"says nothing of the class of service", "counts no packets"} {
		if !strings.Contains(text(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text())
		}
	}
	r.Heard = probe.Heard{
		HasCoS: true, CoS: stamp.CoS{Wanted: 10, Seen: 0, ECN: 1, Rejected: true}, ReplyDSCP: 46,
		HasDirect: true, Direct: stamp.Direct{SenderTx: 100, ReflectorRx: 98, ReflectorTx: 98}, Answers: 97,
	}
	for _, want := range []string{"left with DSCP 46 and arrived with DSCP 0, ECN 1; answers were to have DSCP 10 and came with DSCP 46, ECN 0: the reflector refused",
		"lost on the way there 2, on the way back 1"} {
		if !strings.Contains(text(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text())
		}
	}
	var got struct {
		CoS    cos    `json:"class_of_service"`
		Direct direct `json:"direct_measurement"`
	}
	encoded, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(encoded, &got)
	}
	if err != nil || got.CoS != (cos{46, 0, 1, 10, true, 46, 0}) || got.Direct != (direct{100, 98, 98, 97, 2, 1, 0}) {
		t.Errorf("%v: %s", err, encoded)
	}
}

func TestHistogramFits(t *testing.T) {
	h := Histogram{}
	h.Add([]probe.Sample{{RTT: time.Microsecond}, {RTT: 10 * time.Second}, {Lost: true}, {}})
	var b strings.Builder
	h.write(&b)
	if rows := strings.Count(b.String(), "\n"); rows == 0 || rows > 21 {
		t.Errorf("%d rows", rows)
	}
}
