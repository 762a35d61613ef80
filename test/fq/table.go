package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/detnet/detnet/test/fq/figure"
)

// table prints the figures of each scenario as a table, a case a line.
func table(w io.Writer, figures []figure.Figure) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	scenario := ""
	for _, f := range figures {
		names := slices.Sorted(maps.Keys(f.Values))
		if f.Scenario != scenario {
			if scenario != "" {
				fmt.Fprintln(t)
			}
			scenario = f.Scenario
			fmt.Fprintf(t, "%s\t%s\t\n", scenario, strings.Join(names, "\t"))
		}
		fmt.Fprintf(t, "%s\t", f.Case)
		for _, name := range names {
			fmt.Fprintf(t, "%.2f\t", f.Values[name])
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
