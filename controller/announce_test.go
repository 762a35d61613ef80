package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
)

// told notes Events as "NAMESPACE/NAME REASON: NOTE".
type told []string

func (t *told) Eventf(regarding, _ runtime.Object, _, reason, _, note string, args ...any) {
	object, err := meta.Accessor(regarding)
	if err != nil {
		panic(err)
	}
	*t = append(*t, fmt.Sprintf("%s/%s %s: %s", object.GetNamespace(), object.GetName(), reason, fmt.Sprintf(note, args...)))
}

// The owner of an app that has cost the others what it may hears so, on the pod, and
// nobody else does.
func TestWhoIsTooCostlyIsTold(t *testing.T) {
	robot := plan.PodID{Namespace: "factory", Name: "robot"}
	app, other := &inventory.App{UID: "u"}, &inventory.App{UID: "v"}
	app.Pod, other.Pod = robot, plan.PodID{Namespace: "factory", Name: "other"}
	var events told
	announce(&events, &inventory.Snapshot{Apps: []*inventory.App{other, app}}, plan.Reason{
		Bottleneck: plan.Uplink("worker-1"), Action: plan.Restore, Cause: plan.TooCostly, App: robot,
		Signal: plan.Jitter, Measured: 40 * time.Millisecond, Target: time.Millisecond,
	})
	if len(events) != 1 {
		t.Fatalf("Events %q, want one", events)
	}
	for _, part := range []string{"factory/robot TooCostly: jitter is 40ms where 1ms is asked for", plan.Uplink("worker-1").String(), "laws.adaptive.harm", "let an agent run on its node"} {
		if !strings.Contains(events[0], part) {
			t.Errorf("no %q in %q", part, events[0])
		}
	}
}
