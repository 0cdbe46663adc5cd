// SPDX-License-Identifier: Apache-2.0
// A battery of 50 Wh and a mains adapter, both told what to say by the scratch register of the second serial port:
// bits 0 to 6 are the percent that the battery lacks, bit 7 says that the adapter is unplugged.  Waking up resets
// the register to 0, which therefore is a full battery on mains.
DefinitionBlock ("", "SSDT", 2, "MISSND", "BATTERY", 0x00000001)
{
    Scope (\_SB)
    {
        OperationRegion (SCR, SystemIO, 0x02FF, One)
        Field (SCR, ByteAcc, NoLock, Preserve)
        {
            LACK, 7,
            AWAY, 1
        }

        Device (ADP0)
        {
            Name (_HID, "ACPI0003")
            Name (_PCL, Package () { \_SB })
            Method (_STA) { Return (0x0F) }
            Method (_PSR) { Return (One - AWAY) }
        }

        Device (BAT0)
        {
            Name (_HID, EisaId ("PNP0C0A"))
            Name (_PCL, Package () { \_SB })
            Method (_STA) { Return (0x1F) }

            // Unit (mWh), design capacity, last full capacity, rechargeable, voltage (mV), warning, low, two
            // granularities, model, serial number, type, maker
            Name (_BIF, Package ()
            {
                Zero, 50000, 50000, One, 12000, 5000, 2500, 500, 500, "Test", "1", "LION", "missiond"
            })

            // State (1 discharging, 2 charging), rate (mW), remaining capacity, voltage
            Name (STAT, Package () { Zero, 10000, 50000, 12000 })
            Method (_BST)
            {
                If (AWAY) { STAT [Zero] = One }
                ElseIf (LACK) { STAT [Zero] = 2 }
                Else { STAT [Zero] = Zero }
                STAT [2] = ((100 - LACK) * 500)
                Return (STAT)
            }
        }
    }
}
