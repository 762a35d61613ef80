package sim

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReadTrace(t *testing.T) {
	const us = time.Microsecond
	tests := []struct {
		name, text string
		every      time.Duration
		want       []time.Duration
	}{
		{"by hand", "seconds,jitter_ms\n0,0.5\n2,1.5\n4,\n", 2 * time.Second, []time.Duration{500 * us, 1500 * us, -1000 * us}},
		{"columns in any order", "pod,jitter_ms,timestamp\na,0.5,10\na,1,15\n", 5 * time.Second, []time.Duration{500 * us, 1000 * us}},
		{"epoch seconds and missing scrapes", "timestamp,jitter_seconds\n1767225600.123,0.0005\n1767225605.124,NaN\n1767225615.123,0.001\n", 5001 * time.Millisecond, []time.Duration{500 * us, -1000 * us, -1000 * us, 1000 * us}},
		{"times", "time,jitter_ms\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:30Z,2\n", 30 * time.Second, []time.Duration{1000 * us, 2000 * us}},
		{"packets", "number,sent,lost,rtt_ms\n0,2026-01-01T00:00:00Z,false,1.0\n1,2026-01-01T00:00:00.5Z,false,1.5\n2,2026-01-01T00:00:01.2Z,true,\n3,2026-01-01T00:00:02.1Z,false,3.0\n", time.Second, []time.Duration{500 * us, -1000 * us, 2000 * us}},
		{"packets to two", "sent,rtt_ms,target\n2026-01-01T00:00:00Z,1.0,a\n2026-01-01T00:00:00.1Z,9.0,b\n2026-01-01T00:00:01.2Z,1.5,a\n2026-01-01T00:00:01.3Z,9.25,b\n", time.Second, []time.Duration{0, 500 * us}},
	}
	for _, tt := range tests {
		trace, err := ReadTrace("own", strings.NewReader(tt.text))
		if err != nil || trace.Every != tt.every || !reflect.DeepEqual(trace.Value, tt.want) {
			t.Errorf("%s: %+v, %v", tt.name, trace, err)
		}
	}
	for want, bad := range map[string]string{
		"want a header, such as":               "0,1\n1,1\n2,1\n",
		"named jitter_ms or jitter_seconds or": "seconds,delay\n0,1\n1,1\n",
		"named seconds or timestamp":           "when,jitter_ms\n0,1\n1,1\n",
		"the shortest is 10ms":                 "seconds,jitter_ms\n0,1\n0.01,1\n",
		"the shortest is 1h0m1s":               "seconds,jitter_ms\n0,1\n3601,1\n",
		"got nothing":                          "",
		"at least two lines":                   "seconds,jitter_ms\n0,1\n",
		`line 2, jitter_ms: "x"`:               "seconds,jitter_ms\n0,x\n1,1\n",
		`line 3, jitter_ms: "-2"`:              "seconds,jitter_ms\n0,1\n1,-2\n",
		"line 4: the steps must be even":       "seconds,jitter_ms\n0,1\n1,1\n2.5,1\n",
		"and forward":                          "seconds,jitter_ms\n1,1\n0,1\n",
		`line 2, seconds: "soon"`:              "seconds,jitter_ms\nsoon,1\n1,1\n",
		"packets of more than 1s":              "sent,rtt_ms\n0,1\n0.5,1\n",
		"more than 5000000 steps":              "seconds,jitter_ms\n0,1\n1,1\n9000000,1\n",
	} {
		if _, err := ReadTrace("bad", strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", bad, err, want)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("seconds,jitter_ms\n0,0.5\n5,3\n")
	f.Add("sent,rtt_ms,target\n2026-01-01T00:00:00Z,1.0,a\n2026-01-01T00:00:02Z,,b\n")
	f.Fuzz(func(t *testing.T, text string) {
		trace, err := ReadTrace("fuzz", strings.NewReader(text))
		if err == nil && (trace.Every <= 0 || len(trace.Value) < 2) {
			t.Fatalf("%+v", trace)
		}
	})
}
