# perl -Itests/lib -MSwaks=JOBS /usr/bin/swaks: runs swaks once per line of the file JOBS (its words
# with TAB between them), one after the other, and prints the exit status of each as "STATUS n". The
# program is compiled once, where a process of its own would spend five times as much on starting.
package Swaks;
use strict;
use warnings;

# What swaks asks for as it runs, where it is installed.
eval "require $_" for qw(Getopt::Long IO::Socket IO::Socket::INET6 MIME::Base64 Sys::Hostname);

my $jobs;
sub import { $jobs = $_[1] }

INIT { # swaks is compiled and has not begun
    $| = 1;
    open my $lines, '<', $jobs or die "$jobs: $!";
    my $child = 0;
    while (my $line = <$lines>) {
        chomp $line;
        defined(my $pid = fork) or die "fork: $!";
        if ($pid == 0) {
            @ARGV = split /\t/, $line;
            $child = 1;
            last;
        }
        waitpid $pid, 0;
        print "STATUS $?\n"; # as wait(2) has it: a signal is a failure too
    }
    exit 0 unless $child;
}
1;
