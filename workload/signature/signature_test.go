package signature

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/detnet/detnet/workload"
)

func stamps() (labels, annotations map[string]string) {
	return map[string]string{workload.LabelClass: "critical", "app": "robot"},
		map[string]string{
			workload.AnnotationDecision: "class.pod-label@0123456789ab", workload.AnnotationRank: "100", workload.AnnotationMaxJitter: "1ms",
			workload.AnnotationEgressBandwidth: "100M", "example.com/other": "x",
		}
}

// signedStamps are stamps of namespace shop with their signature.
func signedStamps(key Key) (labels, annotations map[string]string) {
	labels, annotations = stamps()
	annotations[workload.AnnotationSignature] = Sign(key, "shop", labels, annotations)
	return labels, annotations
}

func TestEveryChangeOfAStampIsFound(t *testing.T) {
	keys := Keys{Current: newKey()}
	for _, k := range workload.Managed {
		if k.Live || k.Name == workload.AnnotationSignature {
			continue
		}
		labels, annotations := signedStamps(keys.Current)
		on := annotations
		if k.Label {
			on = labels
		}
		if had, ok := on[k.Name]; ok {
			delete(on, k.Name)
			if err := keys.Verify("shop", labels, annotations); !errors.Is(err, ErrForged) {
				t.Errorf("%s removed: %v", k.Name, err)
			}
			on[k.Name] = had + "0"
		} else {
			on[k.Name] = ""
		}
		if err := keys.Verify("shop", labels, annotations); !errors.Is(err, ErrForged) {
			t.Errorf("%s changed: %v", k.Name, err)
		}
	}
	labels, annotations := signedStamps(keys.Current)
	if err := keys.Verify("other", labels, annotations); !errors.Is(err, ErrForged) {
		t.Errorf("carried into another namespace: %v", err)
	}
}

func TestWhatTheControllerMovesAndOthersWriteIsNotSigned(t *testing.T) {
	keys := Keys{Current: newKey()}
	labels, annotations := signedStamps(keys.Current)
	labels["app"], labels["pod-template-hash"] = "other", "5d4f"
	annotations[workload.AnnotationEgressBandwidth], annotations[workload.AnnotationIngressBandwidth] = "12M", "1M"
	annotations["example.com/other"] = "y"
	if err := keys.Verify("shop", labels, annotations); err != nil {
		t.Error(err)
	}
}

func TestRotationKeepsThePreviousKeyBelieved(t *testing.T) {
	first, second, third := newKey(), newKey(), newKey()
	labels, annotations := signedStamps(first)
	for _, step := range []struct {
		keys     Keys
		want     error
		outdated bool
	}{
		{Keys{Current: first}, nil, false},
		{Keys{Current: second, Previous: first}, nil, true},
		{Keys{Current: third, Previous: second}, ErrUnknownKey, true},
		{Keys{}, ErrUnknownKey, false},
	} {
		if err := step.keys.Verify("shop", labels, annotations); !errors.Is(err, step.want) {
			t.Errorf("%v: %v, want %v", step.keys, err, step.want)
		}
		if got := step.keys.Outdated(annotations); got != step.outdated {
			t.Errorf("%v: outdated = %v", step.keys, got)
		}
	}
}

func TestWhatIsNoSignatureIsNotBelieved(t *testing.T) {
	keys := Keys{Current: newKey()}
	labels, good := signedStamps(keys.Current)
	value := good[workload.AnnotationSignature]
	for text, want := range map[string]error{
		"":                                   ErrUnsigned,
		"x":                                  ErrUnknownKey,
		keys.Current.ID():                    ErrForged,
		keys.Current.ID() + ".":              ErrForged,
		value + "A":                          ErrForged,
		value[:len(value)-1]:                 ErrForged,
		value + "=":                          ErrForged,
		strings.Replace(value, ".", "..", 1): ErrForged,
	} {
		good[workload.AnnotationSignature] = text
		if err := keys.Verify("shop", labels, good); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

// A value that ends where the next name begins must not read as another set of
// stamps.
func FuzzEncodingIsUnambiguous(f *testing.F) {
	f.Add("shop", "1ms", "tcp:80", "shop", "1m", "stcp:80")
	f.Add("a", "", "b", "ab", "", "")
	f.Fuzz(func(t *testing.T, n1, j1, p1, n2, j2, p2 string) {
		a := string(canonical(n1, nil, map[string]string{workload.AnnotationMaxJitter: j1, workload.AnnotationProbe: p1}))
		b := string(canonical(n2, nil, map[string]string{workload.AnnotationMaxJitter: j2, workload.AnnotationProbe: p2}))
		if (a == b) != (n1 == n2 && j1 == j2 && p1 == p2) {
			t.Errorf("%q %q %q and %q %q %q: same encoding %v", n1, j1, p1, n2, j2, p2, a == b)
		}
	})
}

func TestAKeyIsNotPrinted(t *testing.T) {
	key := newKey()
	for _, verb := range []string{"%v", "%s", "%x", "%q", "%+v", "%#v"} {
		if text := fmt.Sprintf(verb, Keys{Current: key}); strings.Contains(text, fmt.Sprintf("%x", []byte(key))) || !strings.Contains(text, key.ID()) {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}
