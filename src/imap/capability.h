/*
 * What is announced: exactly what works. Before login the door puts STARTTLS, LOGINDISABLED and
 * AUTH= behind the first list, as they are allowed at that moment; after login the second counts.
 */
#pragma once

#define IMAP_CAPABILITY_BEFORE "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID"

#define IMAP_CAPABILITY_AFTER                                                                      \
    "IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE NAMESPACE IDLE CHILDREN UNSELECT UIDPLUS MOVE "        \
    "MULTIAPPEND "                                                                                 \
    "ESEARCH LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE STATUS=SIZE "                \
    "CONDSTORE QRESYNC OBJECTID SAVEDATE APPENDLIMIT UTF8=ACCEPT BINARY SEARCHRES "                \
    "WITHIN"
