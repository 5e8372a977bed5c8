// The parts of man/iser-nbd.1 that the command line's definitions do not have, in the markup of man-roff.mjs.

export const DESCRIPTION = [
  '**iser-nbd** is an NBD server whose exports are iSER LUNs. In front, **nbd-client**(8) makes a block device of an ' +
    'export and QEMU a disk. Behind, an iSCSI initiator over RDMA moves the data. Where there is no RDMA device, it ' +
    'speaks iWARP on an ordinary TCP socket, which the soft-iWARP targets of Linux understand. It needs neither a ' +
    'kernel module nor root.',
];

export const LUNS = [
  [
    'iser://[<user>@]<host>[:<port>]/<target-iqn>/<lun>[?<query>]',
    'A LUN of a remote target. The port is 3260 unless it is given. The user is a CHAP name, percent-encoded where ' +
      'necessary. The query is made of **crc=on** (ask the peer for checksums), **fpdu=**<bytes> (the longest frame ' +
      'to send) and **chapAlgorithms=**<list>, joined by **&**.',
  ],
  [
    'memory:<size>',
    'A LUN in the memory of this process, gone with it. A size is in bytes, or has **K**, **M**, **G** or **T** behind ' +
      'it, for powers of 1024.',
  ],
  [
    'file:<path>[:<size>]',
    'A LUN in a file. With a size, a file that does not exist is made. Only one process at a time may have it.',
  ],
];

export const ENVIRONMENT = [
  ['ISER_NBD_CHAP_SECRET', 'The CHAP secret, where --chap-secret-file is not given.'],
  [
    'ISER_NBD_MUTUAL_CHAP_SECRET',
    'The other one of mutual CHAP, where --mutual-chap-secret-file is not given.',
  ],
  [
    'LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES',
    'Sockets that **systemd**(1) or **nbdcopy**(1) hands to **serve**; then it listens on no address of its own ' +
      'accord.',
  ],
  ['SHELL', 'Which shell **completion** is for, unless it is said.'],
];

export const FILES = [
  [
    '/etc/iser-nbd/serve.yaml',
    'What the systemd unit gives to --config. The package has a commented example, **deploy/serve.yaml**, and the ' +
      'units.',
  ],
  [
    '<file>.reservations',
    "The reservations of a file LUN that are to outlast a restart, beside the LUN's file.",
  ],
];

export const SIGNALS = [
  [
    'SIGTERM, SIGINT',
    '**serve** and **target** take no more clients, let what is in flight finish, log out and end. A second one ends ' +
      'them at once.',
  ],
  [
    'SIGHUP',
    '**serve** reads the TLS files again, for connections from then on. If something is wrong with them, the old ones ' +
      'stay in use.',
  ],
  ['SIGUSR2', '**serve** logs its counters.'],
];

export const EXIT_STATUS = [
  ['0', 'All went well; for a server: it was asked to end.'],
  ['1', 'It did not. One line on standard error says what was wrong, and what to do.'],
  ['2', 'The command line is wrong.'],
];

export const EXAMPLES = [
  [
    'A LUN in memory to try things on, and what a client sees of it:',
    ['iser-nbd serve &', 'nbdinfo nbd://127.0.0.1:10809/lab'],
  ],
  [
    'A lab target, and a gateway in front of it:',
    [
      'iser-nbd target --lun file:disk.img:1G &',
      'iser-nbd serve --export disk=iser://127.0.0.1/iqn.2026-11.io.example:lab/0',
    ],
  ],
  [
    'The export as a block device, as a disk of a virtual machine, and as a copy:',
    [
      'sudo nbd-client -N disk 127.0.0.1 10809 /dev/nbd0',
      'qemu-system-x86_64 -drive file=nbd://127.0.0.1/disk,format=raw,if=virtio',
      'nbdcopy nbd://127.0.0.1/disk copy.img',
    ],
  ],
  [
    'With TLS and a pre-shared key:',
    [
      'psktool -u alice -p keys.psk',
      'iser-nbd serve --export disk=memory:256M --tls-psk keys.psk',
      "nbdinfo 'nbds://alice@127.0.0.1/disk?tls-psk-file=keys.psk'",
    ],
  ],
  [
    'With CHAP:',
    ['iser-nbd info iser://alice@192.0.2.1/iqn.2026-11.io.example:lab/0 --chap-secret-file secret'],
  ],
  [
    'Completion in bash, from the next shell on:',
    ["echo 'source <(iser-nbd completion bash)' >> ~/.bashrc"],
  ],
];

export const SEE_ALSO =
  '**nbd-client**(8), **nbdinfo**(1), **nbdcopy**(1), **qemu-nbd**(8), **psktool**(1), **systemd.socket**(5). ' +
  'The folder **docs** of the package has whole documents on TLS, CHAP, workers, the target and the library.';
