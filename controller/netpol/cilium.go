package netpol

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/labelsfilter"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/hostrouting"
	"github.com/detnet/detnet/workload"
)

// ciliumConfig is what of Cilium's own configuration changes what a policy does.
type ciliumConfig struct {
	always bool // a pod is denied whatever nothing allows, selected or not
	denies bool // every policy denies the rest, whatever it says
	hidden []string
}

// closed reports whether a policy opens something on every pod.
func (c ciliumConfig) closed() bool { return c.always || c.denies }

// readCilium reads Cilium's ConfigMap. Where there is none, as with Cilium in
// another namespace, its defaults are assumed; where it may not be read, that
// everything is closed.
func readCilium(ctx context.Context, client kubernetes.Interface) (ciliumConfig, error) {
	m, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, hostrouting.ConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return ciliumConfig{}, nil
	}
	if err != nil {
		return ciliumConfig{always: true}, fmt.Errorf("read Cilium's configuration, to see whether it denies by default: %w", err)
	}
	hidden, err := HiddenLabels(m.Data)
	return ciliumConfig{
		always: m.Data["enable-policy"] == "always",
		denies: m.Data["enable-non-default-deny-policies"] == "false",
		hidden: hidden,
	}, err
}

// HiddenLabels are those by which detnet's policies select pods and which Cilium
// leaves out of the pods' identities, by the "labels" of its configuration: such
// policies select nobody.
func HiddenLabels(config map[string]string) ([]string, error) {
	text, ok := config["labels"]
	if !ok || strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if err := labelsfilter.ParseLabelPrefixCfg(slog.New(slog.DiscardHandler), strings.Fields(text), nil, ""); err != nil {
		return nil, fmt.Errorf("read labels %q of Cilium's configuration: %w", text, err)
	}
	var out []string
	for _, key := range append([]string{workload.LabelClass}, workload.NamingLabels...) {
		identity, _ := labelsfilter.Filter(labels.Map2Labels(map[string]string{key: "x"}, labels.LabelSourceK8s))
		if len(identity) == 0 {
			out = append(out, key)
		}
	}
	return out, nil
}

// hides reports which labels a rule selects by and Cilium does not know.
func (c ciliumConfig) hides(r rule) []string {
	selects, ok := r.closes()
	if !ok {
		return nil
	}
	return slices.DeleteFunc(keys(selects.who), func(key string) bool { return !slices.Contains(c.hidden, key) })
}
