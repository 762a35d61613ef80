package webhook

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
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

// dropped is a cache that has no pod any more.
type dropped struct{ client.Reader }

func (dropped) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// The cache tells of a pod's end a moment after it has dropped the pod: what is made in between
// begins at the pod's limit too.
func TestWhoLeavesThisMomentIsASibling(t *testing.T) {
	i := &Informers{cached: dropped{}}
	pod := func(limit string) *metav1.PartialObjectMetadata {
		m, yes := podMetadata(), true
		m.Namespace, m.Name, m.UID = "shop", "store-0", "u"
		m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "store", Controller: &yes}}
		m.Annotations = map[string]string{workload.AnnotationInitialBandwidth: "100M", workload.AnnotationEgressBandwidth: limit}
		return m
	}
	next := &corev1.Pod{ObjectMeta: pod("").ObjectMeta}
	begins := func(when string, want ...bitrate.Rate) {
		t.Helper()
		var got []bitrate.Rate
		all, err := i.Siblings(t.Context(), "shop", next)
		for _, s := range all {
			got = append(got, s.Egress)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", when, got, err, want)
		}
	}
	begins("before it was there")
	i.note(nil, pod("30M"))
	i.note(pod("30M"), pod("24M"))
	begins("dropped, and not told of", 24*bitrate.Mbit)
	i.forget(pod("24M"))
	begins("told of", 24*bitrate.Mbit)
	if len(i.known.of) > 0 {
		t.Errorf("it is known for ever: %v", i.known.of)
	}
}
