package stage

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/workload"
)

// MeasuresByFamily wants pods with addresses of both families to be measured by the
// one that they ask for, and by the primary one else: their sessions and their node
// sessions.
func (s *Stage) MeasuresByFamily(t *testing.T) {
	if !s.Cluster.IPv6First() {
		t.Skip("the cluster has one family of IP")
	}
	ctx := t.Context()
	hosts := map[string]string{} // of the sessions that each pod should have
	for name, probe := range map[string]string{"by-ipv4": "udp4:5201", "by-ipv6": "udp6:5201", "by-either": "udp:5201"} {
		hosts[name] = "fd77:244:"
		if strings.HasPrefix(probe, "udp4") {
			hosts[name] = "10.244."
		}
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{workload.LabelPriority: "critical", "app": name},
				Annotations: map[string]string{workload.AnnotationProbe: probe, workload.AnnotationMaxJitter: "10ms"}},
			Spec: corev1.PodSpec{TerminationGracePeriodSeconds: new(int64), Containers: []corev1.Container{{
				Name: "c", Image: "detnet.local/traffic:" + install.Tag, ImagePullPolicy: corev1.PullNever, Args: []string{"echo"},
				Ports: []corev1.ContainerPort{{ContainerPort: 5201, Protocol: corev1.ProtocolUDP}},
			}}},
		}
		if _, err := s.Client.CoreV1().Pods(Factory).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	Eventually(t, "all are measured by the family that they ask for", func() error {
		now, err := install.Status(ctx, s.Cluster)
		if err != nil {
			return err
		}
		seen := 0
		for _, app := range now.Apps {
			host, ok := hosts[strings.TrimPrefix(app.Pod, Factory+"/")]
			if !ok {
				continue
			}
			seen++
			if err := measuredAt(app, host); err != nil {
				return fmt.Errorf("%s: %w; status %+v", app.Pod, err, app)
			}
		}
		if seen != len(hosts) {
			return fmt.Errorf("%d of %d are known", seen, len(hosts))
		}
		return nil
	})
	for name := range hosts {
		if err := s.Client.CoreV1().Pods(Factory).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
	s.AwaitMeasured(t)
}

// measuredAt: the identifier of a session says where it goes.
func measuredAt(app status.App, host string) error {
	if len(app.Sessions) == 0 {
		return errors.New("nobody measures it")
	}
	for _, session := range app.Sessions {
		for _, one := range []*status.Session{&session, session.NodeSession} {
			switch {
			case one == nil: // on the app's own node
			case one.Blind:
				return fmt.Errorf("session %s is blind: %s", one.ID, one.Error)
			case !strings.Contains(one.ID, " "+host):
				return fmt.Errorf("session %s does not go to %s", one.ID, host)
			}
		}
	}
	return nil
}
