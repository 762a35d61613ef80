//go:build race

package worlds

const race = true // the detector is on: everything takes many times as long
