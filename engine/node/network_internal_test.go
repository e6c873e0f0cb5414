package node

import (
	"net/netip"
	"testing"
)

func TestOnlyPublicAddressesArePublic(t *testing.T) {
	for _, s := range []string{
		"8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255",
		"2001:4860:4860::8888", "2600::1", "2a00::1", "64:ff9b::808:808",
	} {
		if !public(netip.MustParseAddr(s)) {
			t.Errorf("%s is not public", s)
		}
	}
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
		"169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.0",
		"192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::7f00:1", "100::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1",
		"fc00::1", "fd00:ec2::254", "fe80::1", "febf::1", "fec0::1", "ff02::1", "4000::1",
	} {
		if public(netip.MustParseAddr(s)) {
			t.Errorf("%s is public", s)
		}
	}
	if public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestTheAddressThatIsDialledIsChecked(t *testing.T) {
	nw := NewNetwork(&NetworkOptions{Nets: prefixes("127.0.0.0/8", "fd00::/16")})
	for address, may := range map[string]bool{
		"127.0.0.1:80": true, "[::ffff:127.0.0.1]:80": true, "[fd00::1]:80": true, "8.8.8.8:80": true, "[::ffff:8.8.8.8]:80": true,
		"10.0.0.1:80": false, "[::ffff:10.0.0.1]:80": false, "[::1]:80": false, "[fe80::1%eth0]:80": false, "[fd01::1]:80": false,
		"localhost:80": false, "127.1:80": false, "": false,
	} {
		if err := nw.checkAddress(t.Context(), "tcp4", address, nil); (err == nil) != may {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := nw.checkAddress(t.Context(), "unix", "/run/docker.sock", nil); err == nil {
		t.Error("a socket may be dialled")
	}
}
