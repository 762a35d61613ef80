package clockstep

import (
	"testing"
	"time"
)

func TestSet(t *testing.T) {
	now := time.Now()
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		set := Set(now, by)
		if set.Sub(now) != 0 || !set.Add(time.Second).After(now) || set.Unix()-now.Unix() != int64(by/time.Second) {
			t.Errorf("%v set by %v: %v", now, by, set)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a time without a monotonic part is taken")
		}
	}()
	Set(now.Round(0), time.Hour)
}
