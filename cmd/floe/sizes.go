package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A size is a number of bytes, as a flag: 4096, 512MiB, 10G, 1.5TB. K, M, G
// and T are powers of 1024, as is KiB; KB is 1000.
type size int64

func (s *size) Type() string { return "SIZE" }

func (s *size) String() string { return exactBytes(int64(*s)) }

func (s *size) Set(text string) error {
	n, err := parseSize(text)
	if err == nil {
		*s = size(n)
	}
	return err
}

func parseSize(text string) (int64, error) {
	end := strings.LastIndexAny(text, "0123456789.") + 1
	unit := strings.ToLower(strings.TrimSpace(text[end:]))
	factor := 1.0
	if unit != "" && unit != "b" {
		power := strings.IndexByte("kmgtpe", unit[0]) + 1
		switch rest := unit[1:]; {
		case power == 0 || rest != "" && rest != "b" && rest != "i" && rest != "ib":
			return 0, fmt.Errorf("%q is not a size: write bytes, or a number and KiB, MiB, GiB or TiB", text)
		case rest == "b":
			factor = math.Pow(1000, float64(power))
		default:
			factor = math.Pow(1024, float64(power))
		}
	}
	if n, err := strconv.ParseInt(text[:end], 10, 64); err == nil && factor == 1 {
		return n, nil
	}
	n, err := strconv.ParseFloat(text[:end], 64)
	if err != nil || strings.Trim(text[:end], "0123456789.") != "" { // Inf, 1e9, 0x1p4
		return 0, fmt.Errorf("%q is not a size: write bytes, or a number and KiB, MiB, GiB or TiB", text)
	}
	if n *= factor; n < math.MaxInt64 {
		return int64(n), nil
	}
	return 0, fmt.Errorf("%q is more than there can be", text)
}

var units = []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// exactBytes writes n in the largest unit of which it is a whole number.
func exactBytes(n int64) string {
	unit := ""
	for _, u := range units {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return strconv.FormatInt(n, 10) + unit
}

// humanBytes writes n to three digits.
func humanBytes[N int64 | uint64 | int](n N) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	x, i := float64(n)/1024, 0
	for x >= 999.5 && i < len(units)-1 {
		x, i = x/1024, i+1
	}
	digits := 0
	switch {
	case x < 9.995:
		digits = 2
	case x < 99.95:
		digits = 1
	}
	return strconv.FormatFloat(x, 'f', digits, 64) + " " + units[i]
}

// count writes n with commas between thousands, and what it counts.
func count[N int | int64 | uint64](n N, one, many string) string {
	what := many
	if n == 1 {
		what = one
	}
	return grouped(n) + " " + what
}

func grouped[N int | int64 | uint64](n N) string {
	s := strconv.FormatUint(uint64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
