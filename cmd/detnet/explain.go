package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/cmd/detnet/text"
	"github.com/detnet/detnet/controller/status"
)

func newExplainCommand() *cobra.Command {
	var from statusSource
	var namespace, output string
	cmd := &cobra.Command{
		Use:     "explain [NAMESPACE/]POD",
		Short:   "Say why a pod's limit or measurement is what it is",
		Example: "  detnet explain factory/telemetry-upload-7d4b9\n  detnet explain -n factory telemetry-upload-7d4b9",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pod, err := podNamed(args[0], namespace, from.namespace)
			if err != nil {
				return err
			}
			read, err := from.reader(status.Query{Pod: pod})
			if err != nil {
				return err
			}
			s, err := read(cmd.Context())
			if err != nil {
				return err
			}
			e, err := text.Explain(s, pod)
			if errors.Is(err, text.ErrUnknown) && from.url == "" {
				err = from.unknown(cmd.Context(), pod, err)
			}
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(e)
			}
			e.Text(text.Plain(cmd.OutOrStdout()))
			return nil
		},
	}
	from.addFlags(cmd)
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "`namespace` of the pod; default the one that the context names, else default")
	cmd.Flags().VarP(format(&output, "text", "json"), "output", "o", "text or json")
	return answers(cmd, "detnet neither protects nor limits the pod")
}

// podNamed is "namespace/name" of the pod that an argument means, also as kubectl writes one,
// "pod/name"; usual says where it is unless the argument or the flag does.
func podNamed(arg, flag string, usual func() string) (string, error) {
	namespace, name, whole := strings.Cut(strings.TrimPrefix(arg, "pod/"), "/")
	if !whole {
		if namespace, name = flag, namespace; namespace == "" {
			namespace = usual()
		}
	}
	switch {
	case namespace == "" || name == "" || strings.Contains(name, "/"):
		return "", misuse("explain %q: want POD or NAMESPACE/POD, such as factory/telemetry-upload-7d4b9", arg)
	case flag != "" && flag != namespace:
		return "", misuse("explain %q: --namespace %s is another namespace: give one of them", arg, flag)
	}
	return namespace + "/" + name, nil
}

// unknown says of a pod that the controller does not know what the pod itself tells of the
// reason; err where it can't be read.
func (s *statusSource) unknown(ctx context.Context, pod string, err error) error {
	client, failed := s.connect()
	if failed != nil {
		return err
	}
	namespace, name, _ := strings.Cut(pod, "/")
	switch known, failed := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{}); {
	case apierrors.IsNotFound(failed):
		return fmt.Errorf("explain pod %s: there is no pod of that name in namespace %s: see kubectl -n %s get pods, or name another namespace with -n", pod, namespace, namespace)
	case failed != nil:
		return err
	default:
		return found("pod %s is neither protected nor limited: %s", pod, text.Unknown(known))
	}
}
