The daemon had reads this folder:

  ha.cf         who is in the cluster, how the nodes reach each other, how long silence may last
  haresources   what runs, and where it prefers to run
  authkeys      the secret that the nodes share; mode 0600
  resource.d    scripts that haresources names

The package brings no ha.cf, haresources and authkeys, and starts nothing. To begin, on one node:

  hactl init                      asks for what it needs, and writes the three files; copy them to every node

Or edit copies of those in /usr/share/doc/had/examples. Then, on every node:

  hactl check                     go on only if there are no errors
  systemctl disable --now NAME    each service that haresources names, and what managed the addresses before
  systemctl enable --now had      when the line above is done on every node

Step by step: `man 7 had-first-cluster`. More: `man 7 had`. Whole systems: /usr/share/doc/had/examples. How to write a
script: /usr/share/doc/had/resource-scripts.md.
