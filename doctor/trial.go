package doctor

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/workload"
)

// podsStamped asks for what users will ask for, and has the API server throw
// the pod away.
func podsStamped(ctx context.Context, c client.Client, i Install) (problem, advice string, err error) {
	pod := trialPod(i.Trial)
	err = c.Create(ctx, pod, client.DryRunAll)
	switch {
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsNotFound(err):
		// A quota, another policy or a right that is missing: it says nothing of detnet.
		return fmt.Sprintf("not known: a pod can't be created in namespace %s, not even on dry run: %v", i.Trial, err),
			"this is about that namespace and not about detnet: name another by --trial-namespace, for helm test by the value test.namespace", nil
	case err != nil:
		return "", "", fmt.Errorf("create a pod in namespace %s on dry run: %w", i.Trial, err)
	case pod.Labels[workload.LabelClass] == "":
		return "a pod labelled " + workload.LabelPriority + "=best-effort came out without a class",
			"see whether the webhook serves and is trusted, and whether webhook.ignoreNamespaces names " + i.Trial, nil
	}
	return "", "", nil
}

// trialPod is fit for the restricted Pod Security profile, and for quotas that
// want requests and limits.
func trialPod(namespace string) *corev1.Pod {
	nonroot, no := true, false
	little := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1m"), corev1.ResourceMemory: resource.MustParse("1Mi")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, GenerateName: "detnet-doctor-",
			Labels: map[string]string{workload.LabelPriority: "best-effort"},
		},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &nonroot, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "none", Image: "none.invalid/none",
				Resources: corev1.ResourceRequirements{Requests: little, Limits: little},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}
