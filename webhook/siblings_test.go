package webhook

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/policies"
)

func TestDepartures(t *testing.T) {
	var d departures
	now := time.Unix(1000, 0)
	if _, ok := d.last("shop/Job/a", now); ok {
		t.Error("something left that never was")
	}
	d.add("shop/Job/a", policies.Sibling{Name: "1", Egress: 20 * bitrate.Mbit}, now)
	d.add("shop/Job/a", policies.Sibling{Name: "2", Egress: 90 * bitrate.Mbit}, now.Add(time.Minute))
	if s, ok := d.last("shop/Job/a", now.Add(5*time.Minute)); !ok || s.Name != "1" {
		t.Errorf("%v %v, want the lowest limit, for as long as the last is remembered", s, ok)
	}
	if _, ok := d.last("shop/Job/b", now); ok {
		t.Error("another workload's counts")
	}
	if s, ok := d.last("shop/Job/a", now.Add(6*time.Minute)); ok {
		t.Errorf("%v is remembered for too long", s)
	}
	d.add("shop/Job/a", policies.Sibling{Name: "3", Egress: 90 * bitrate.Mbit}, now.Add(7*time.Minute))
	if s, _ := d.last("shop/Job/a", now.Add(8*time.Minute)); s.Name != "3" {
		t.Errorf("%v, want the one of today", s)
	}
	for i := range 3 * maxLeft {
		d.add("shop/"+string(rune(i)), policies.Sibling{}, now)
	}
	if len(d.of) > maxLeft {
		t.Errorf("%d are remembered", len(d.of))
	}
}
