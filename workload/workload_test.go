package workload

import (
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
)

func TestParseSLO(t *testing.T) {
	got, errs := ParseSLO(map[string]string{AnnotationMaxJitter: "1ms", AnnotationMaxLatency: "10ms", AnnotationMaxLoss: "0.1%"})
	want := SLO{Jitter: time.Millisecond, Latency: 10 * time.Millisecond, Loss: 0.001}
	if got != want || errs != nil {
		t.Errorf("ParseSLO = %+v, %v; want %+v", got, errs, want)
	}
}

// One bad target must not take the good ones with it, and the message has to
// name the key and what would be accepted.
func TestParseSLOKeepsTheReadable(t *testing.T) {
	for _, bad := range []string{"", "1", "fast", "-1ms", "9us", "11s", "NaN"} {
		got, errs := ParseSLO(map[string]string{AnnotationMaxJitter: bad, AnnotationMaxLatency: "10ms"})
		if got != (SLO{Latency: 10 * time.Millisecond}) {
			t.Errorf("max-jitter %q: SLO = %+v", bad, got)
		}
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), AnnotationMaxJitter) || !strings.Contains(errs[0].Error(), "10µs to 10s") {
			t.Errorf("max-jitter %q: errors = %v", bad, errs)
		}
	}
	for _, bad := range []string{"", "%", "0%", "101%", "1.5", "-1%", "NaN", "NaN%"} {
		if got, errs := ParseSLO(map[string]string{AnnotationMaxLoss: bad}); got.Loss != 0 || len(errs) != 1 {
			t.Errorf("max-loss %q: %v, %v", bad, got.Loss, errs)
		}
	}
}

func TestParseProbe(t *testing.T) {
	for text, want := range map[string]Probe{
		"stamp":       {STAMP, 862, AnyFamily},
		"stamp:8620":  {STAMP, 8620, AnyFamily},
		"udp:5201":    {UDP, 5201, AnyFamily},
		"tcp:5202":    {TCP, 5202, AnyFamily},
		"icmp":        {Protocol: ICMP},
		"prometheus":  {Protocol: Prometheus},
		"stamp4":      {STAMP, 862, IPv4},
		"stamp6:8620": {STAMP, 8620, IPv6},
		"tcp6:5202":   {TCP, 5202, IPv6},
		"icmp6":       {Protocol: ICMP, Family: IPv6},
	} {
		got, err := ParseProbe(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("ParseProbe(%q) = %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "udp", "udp:", "udp:0", "udp:65536", "udp:-1", "tcp:http", "icmp:1", "sctp:1", "UDP:1", "stamp:", "stamp:0", "prometheus:9090",
		"prometheus6", "udp5:1", "udp46:1", "udp6", "4:1", "6", "icmp6:1"} {
		if got, err := ParseProbe(bad); err == nil {
			t.Errorf("ParseProbe(%q) = %v, want an error", bad, got)
		}
	}
}

func TestParseDSCP(t *testing.T) {
	for text, want := range map[string]DSCP{
		"0": 0, "DF": 0, "cs0": 0, "EF": 46, "ef": 46, "46": 46, "AF11": 10, "AF42": 36, "CS5": 40, "LE": 1, "voice-admit": 44, "63": 63, "047": 47,
	} {
		if got, err := ParseDSCP(text); err != nil || got != want {
			t.Errorf("ParseDSCP(%q) = %v, %v; want %d", text, got, err, want)
		}
	}
	for d := range DSCP(MaxDSCP + 1) {
		if back, err := ParseDSCP(d.String()); err != nil || back != d {
			t.Errorf("%d is written %q and read back as %d, %v", d, d, back, err)
		}
	}
	for _, bad := range []string{"", "64", "-1", "46.0", "0x2e", "AF14", "AF01", "AF51", "CS8", "EF ", "ЕF"} {
		if got, err := ParseDSCP(bad); err == nil || !strings.Contains(err.Error(), "from 0 to 63") {
			t.Errorf("ParseDSCP(%q) = %v, %v; want an error with the range", bad, got, err)
		}
	}
}

func TestParseBounds(t *testing.T) {
	tests := []struct {
		name        string
		annotations map[string]string
		want        Bounds
		errs        int
	}{
		{"none", nil, Bounds{Weight: 1}, 0},
		{"all", map[string]string{AnnotationMinBandwidth: "10M", AnnotationMaxBandwidth: "1G", AnnotationWeight: "2"}, Bounds{10 * bitrate.Mbit, bitrate.Gbit, 2}, 0},
		{"bad floor", map[string]string{AnnotationMinBandwidth: "0", AnnotationMaxBandwidth: "1G"}, Bounds{0, bitrate.Gbit, 1}, 1},
		{"crossed", map[string]string{AnnotationMinBandwidth: "2G", AnnotationMaxBandwidth: "1G"}, Bounds{Weight: 1}, 1},
		{"bad weight", map[string]string{AnnotationWeight: "0"}, Bounds{Weight: 1}, 1},
	}
	for _, tt := range tests {
		if got, errs := ParseBounds(tt.annotations); got != tt.want || len(errs) != tt.errs {
			t.Errorf("%s: %+v, %v", tt.name, got, errs)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("1ms", "0.1%", "udp:5201", "2", "EF")
	f.Fuzz(func(t *testing.T, jitter, loss, probe, weight, dscp string) {
		if d, err := ParseDSCP(dscp); err == nil && d > MaxDSCP {
			t.Fatalf("codepoint %d of %q", d, dscp)
		}
		slo, _ := ParseSLO(map[string]string{AnnotationMaxJitter: jitter, AnnotationMaxLoss: loss})
		if slo.Jitter < 0 || slo.Jitter > MaxTarget || !(slo.Loss >= 0 && slo.Loss <= 1) {
			t.Fatalf("SLO out of range: %+v", slo)
		}
		if p, err := ParseProbe(probe); err == nil {
			if back, err := ParseProbe(p.String()); err != nil || back != p {
				t.Fatalf("%q: %v does not read back: %v, %v", probe, p, back, err)
			}
		}
		if b, _ := ParseBounds(map[string]string{AnnotationWeight: weight}); b.Weight < 1 || b.Weight > MaxWeight {
			t.Fatalf("weight %d out of range", b.Weight)
		}
	})
}
