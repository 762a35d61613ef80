package doctor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// BenchmarkNodes is the only question of doctor's that grows with the cluster beside its
// agents' pods: which kernels the nodes have, of nodes as kubelets describe them, with 50
// images each.
func BenchmarkNodes(b *testing.B) {
	for _, nodes := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			list := corev1.NodeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"}}
			for i := range nodes {
				n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%04d", i)}}
				n.Status.NodeInfo.KernelVersion = "6.8.0-60-generic"
				for k := range 50 {
					name := fmt.Sprintf("registry.example.org/team-%d/service", k)
					n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{name + "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", name + ":v1.2.3"}, SizeBytes: 123456789})
				}
				list.Items = append(list.Items, n)
			}
			wire, err := json.Marshal(list)
			if err != nil {
				b.Fatal(err)
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if w.Header().Set("Content-Type", "application/json"); r.URL.Path != "/api/v1/nodes" {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				_, _ = w.Write(wire)
			}))
			defer server.Close()
			mapper := meta.NewDefaultRESTMapper(nil)
			for _, kind := range []schema.GroupVersionKind{corev1.SchemeGroupVersion.WithKind("ConfigMap"), appsv1.SchemeGroupVersion.WithKind("DaemonSet")} {
				mapper.Add(kind, meta.RESTScopeNamespace)
			}
			mapper.Add(corev1.SchemeGroupVersion.WithKind("Node"), meta.RESTScopeRoot)
			c, err := client.New(&rest.Config{Host: server.URL, QPS: -1}, client.Options{Mapper: mapper})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				d, err := getDatapath(b.Context(), c, appsv1.DaemonSet{})
				if err != nil || len(d.kernels) != nodes {
					b.Fatalf("%d kernels, %v", len(d.kernels), err)
				}
			}
			b.ReportMetric(float64(len(wire)), "octets")
		})
	}
}
