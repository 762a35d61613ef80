package sim

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReadTrace(t *testing.T) {
	trace, err := ReadTrace("own", strings.NewReader("seconds,jitter_ms\n0,0.5\n2,1.5\n4,\n"))
	want := []time.Duration{500 * time.Microsecond, 1500 * time.Microsecond, -time.Millisecond}
	if err != nil || trace.Every != 2*time.Second || !reflect.DeepEqual(trace.Value, want) {
		t.Errorf("%+v, %v", trace, err)
	}
	for _, bad := range []string{"0,1\n1,1\n2,1\n", "seconds\n0\n1\n", "a,b\n0,1\n0.2,1\n", "a,b\n0,1\n3601,1\n", "", "seconds,jitter_ms\n0,1\n", "a,b\n0,x\n1,1\n", "a,b\n0,1\n1,-2\n", "a,b\n0,1\n1,1\n3,1\n", "a,b\n1,1\n0,1\n", "a,b\n0,1\n0,1\n", "a,b\n0,NaN\n1,1\n"} {
		if _, err := ReadTrace("bad", strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("seconds,jitter_ms\n0,0.5\n5,3\n")
	f.Fuzz(func(t *testing.T, text string) {
		trace, err := ReadTrace("fuzz", strings.NewReader(text))
		if err == nil && (trace.Every <= 0 || len(trace.Value) < 2) {
			t.Fatalf("%+v", trace)
		}
	})
}
