package scene

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/scene/record"
	"github.com/detnet/detnet/workload"
)

// limits follows the egress limits of the factory's pods as any client of the
// API server sees them.
type limits struct {
	mu       sync.Mutex
	now      map[string]bitrate.Rate // by app label; absent: no limit
	changes  []record.LimitChange
	restarts int
}

func watchLimits(ctx context.Context, client kubernetes.Interface) *limits {
	l := &limits{now: map[string]bitrate.Rate{}}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	pods := factory.Core().V1().Pods().Informer()
	// The only error here is an informer that has already stopped.
	_, _ = pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { l.update(time.Now(), nil, o.(*corev1.Pod)) },
		UpdateFunc: func(o, n any) { l.update(time.Now(), o.(*corev1.Pod), n.(*corev1.Pod)) },
	})
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return l
}

func (l *limits) update(now time.Time, before, pod *corev1.Pod) {
	name, limit := pod.Labels["app"], egress(pod)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now[name] = limit
	if before == nil {
		return
	}
	l.restarts += restarts(pod) - restarts(before)
	if from := egress(before); from != limit {
		l.changes = append(l.changes, record.LimitChange{At: now, Pod: name, From: from, To: limit})
	}
}

func egress(pod *corev1.Pod) bitrate.Rate {
	rate, err := bitrate.Parse(pod.Annotations[workload.AnnotationEgressBandwidth])
	if err != nil {
		return 0
	}
	return rate
}

func restarts(pod *corev1.Pod) (n int) {
	for _, c := range pod.Status.ContainerStatuses {
		n += int(c.RestartCount)
	}
	return n
}

// since returns the changes after t and the restarts seen so far.
func (l *limits) since(t time.Time) (changes []record.LimitChange, restarts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.changes {
		if c.At.After(t) {
			changes = append(changes, c)
		}
	}
	return changes, l.restarts
}

func (l *limits) current(app string) bitrate.Rate {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now[app]
}
