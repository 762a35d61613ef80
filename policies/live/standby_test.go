package live

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// replica is a pod of the chart's webhook.
func replica(name string, ready corev1.ConditionStatus) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "detnet", Name: name, Labels: map[string]string{
			"app.kubernetes.io/name": "detnet", "app.kubernetes.io/component": "webhook",
		}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
	}
}

// standby is a replica "me" of which something stands in, with others in the cluster, while it runs.
func standby(t *testing.T, instead string, others ...runtime.Object) (*Standby, *fake.Clientset) {
	t.Helper()
	active := NewActive(load(t, nil), time.Now(), prometheus.NewRegistry())
	if instead != "" {
		active.StandIn(instead, errors.New("it is broken"))
	}
	client := fake.NewClientset(others...)
	s := &Standby{Active: active, Client: client, Namespace: "detnet", Self: "me", Log: quiet}
	return s, client
}

// run runs s for a while.
func run(t *testing.T, s *Standby) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*standbyEvery)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}

// Who has the default set alone serves where nobody else does, and from then on.
func TestWhoStandsBy(t *testing.T) {
	leaving, elsewhere, stranger := replica("old", corev1.ConditionTrue), replica("old", corev1.ConditionTrue), replica("old", corev1.ConditionTrue)
	leaving.DeletionTimestamp, leaving.Finalizers = &metav1.Time{Time: time.Now()}, []string{"example.com/any"}
	elsewhere.Namespace = "other"
	stranger.Labels = nil
	for name, c := range map[string]struct {
		instead string
		other   *corev1.Pod
		ready   bool
	}{
		"alone":                              {defaultSet, replica("me", corev1.ConditionTrue), true},
		"another is ready":                   {defaultSet, replica("old", corev1.ConditionTrue), false},
		"another is not":                     {defaultSet, replica("old", corev1.ConditionFalse), true},
		"another is going":                   {defaultSet, leaving, true},
		"another install's":                  {defaultSet, elsewhere, true},
		"somebody else's":                    {defaultSet, stranger, true},
		"the last good set, and another":     {lastGood, replica("old", corev1.ConditionTrue), true},
		"the site's own policy, and another": {"", replica("old", corev1.ConditionTrue), true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, _ := standby(t, c.instead, c.other)
			if ready := s.Ready(nil) == nil; ready && c.instead == defaultSet {
				t.Errorf("%s: ready before it looked for others", name)
			}
			run(t, s)
			if err := s.Ready(nil); (err == nil) != c.ready {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// It stands by for no longer than the other one is there, or the site's policy can't be used.
func TestStandingByEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := standby(t, defaultSet, replica("old", corev1.ConditionTrue))
		run(t, s)
		if s.Ready(nil) == nil {
			t.Error("it does not stand by")
		}
		if err := client.CoreV1().Pods("detnet").Delete(t.Context(), "old", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		run(t, s)
		if err := s.Ready(nil); err != nil {
			t.Errorf("nobody else is there: %v", err)
		}
		if err := client.Tracker().Add(replica("new", corev1.ConditionTrue)); err != nil {
			t.Fatal(err)
		}
		if err := s.Ready(nil); err != nil {
			t.Errorf("it stops serving as another comes: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s, _ := standby(t, defaultSet, replica("old", corev1.ConditionTrue))
		run(t, s)
		s.Active.put(s.Active.Engine(), time.Now())
		if err := s.Ready(nil); err != nil {
			t.Errorf("the site's policy is in force: %v", err)
		}
	})
}

// An API server that does not answer is asked again; one that will not tell leaves no other way than to serve.
func TestStandbyIsNotTold(t *testing.T) {
	for ready, answer := range map[bool]error{
		false: errors.New("connection refused"),
		true:  apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil),
	} {
		synctest.Test(t, func(t *testing.T) {
			s, client := standby(t, defaultSet)
			client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, answer })
			run(t, s)
			if got := s.Ready(nil) == nil; got != ready {
				t.Errorf("%v: ready %v", answer, got)
			}
			if ready {
				return
			}
			client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return true, &corev1.PodList{}, nil })
			run(t, s)
			if err := s.Ready(nil); err != nil {
				t.Errorf("it answers again: %v", err)
			}
		})
	}
}
