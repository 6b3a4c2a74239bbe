; Made by build.py, which defines VERSION, SOURCE and TARGET.
;
;   setup.exe /S                                      installs without a window
;   setup.exe /S /SERVICE=FILE [/ACCOUNT=NAME]        and the service, with this configuration, as this account
;   setup.exe /S /D=C:\Tools\Dropline                 elsewhere; must be the last option, without quotes
;
; Exit status: 0 done, 2 not installed, 3 installed, but the service could not be.

Target amd64-unicode
SetCompressor zlib
RequestExecutionLevel admin
ManifestSupportedOS all
Name "Dropline ${VERSION}"
OutFile "${TARGET}"
InstallDir "$PROGRAMFILES64\Dropline"
InstallDirRegKey HKLM "Software\Dropline" "Folder"
ShowInstDetails show

!include "FileFunc.nsh"
!include "LogicLib.nsh"
!include "Sections.nsh"

!define REMOVED "Software\Microsoft\Windows\CurrentVersion\Uninstall\Dropline"

Var Config
Var Account
Var WasStopped

Page components
Page directory
Page instfiles
UninstPage uninstConfirm
UninstPage instfiles

Section "Dropline"
  SectionIn RO
  SetRegView 64
  ${IfNot} ${FileExists} "$INSTDIR\dropline.exe"
  ${AndIf} ${FileExists} "$INSTDIR\*.*"
  ${AndIf} ${FileExists} "$INSTDIR\python"
    ; The uninstaller would remove it.
    DetailPrint "$INSTDIR has a folder python of another program: choose another folder"
    SetErrorLevel 2
    Abort
  ${EndIf}
  ; Files of a running agent cannot be replaced.
  nsExec::ExecToLog '"$SYSDIR\net.exe" stop dropline'
  Pop $WasStopped
  ${If} ${FileExists} "$INSTDIR\dropline.exe"
    RMDir /r "$INSTDIR\python"
    RMDir /r "$INSTDIR\lib"
  ${EndIf}
  SetOutPath "$INSTDIR"
  ClearErrors
  File /r "${SOURCE}/*"
  ${If} ${Errors}
    SetErrorLevel 2
    Abort
  ${EndIf}
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr HKLM "Software\Dropline" "Folder" "$INSTDIR"
  WriteRegStr HKLM "${REMOVED}" "DisplayName" "Dropline"
  WriteRegStr HKLM "${REMOVED}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKLM "${REMOVED}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKLM "${REMOVED}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKLM "${REMOVED}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKLM "${REMOVED}" "NoModify" 1
  WriteRegDWORD HKLM "${REMOVED}" "NoRepair" 1
  ${If} $WasStopped == 0
    nsExec::ExecToLog '"$SYSDIR\net.exe" start dropline'
    Pop $0
  ${EndIf}
SectionEnd

Section /o "Windows service" service
  nsExec::ExecToLog '"$INSTDIR\dropline.exe" service install --config "$Config" --run-as "$Account"'
  Pop $0
  ${If} $0 != 0
    DetailPrint "the service could not be installed: mend that and run dropline service install"
    SetErrorLevel 3
  ${EndIf}
SectionEnd

Function .onInit
  SetShellVarContext all
  StrCpy $Config "$APPDATA\dropline\dropline\dropline.toml"
  StrCpy $Account "NT SERVICE\dropline"
  ${GetParameters} $0
  ClearErrors
  ${GetOptions} $0 "/ACCOUNT=" $1
  ${IfNot} ${Errors}
    StrCpy $Account $1
  ${EndIf}
  ClearErrors
  ${GetOptions} $0 "/SERVICE=" $1
  ${IfNot} ${Errors}
    StrCpy $Config $1
    !insertmacro SelectSection ${service}
  ${EndIf}
FunctionEnd

Section "Uninstall"
  SetRegView 64
  nsExec::ExecToLog '"$INSTDIR\dropline.exe" service uninstall'
  Pop $0
  ; What the agent knows and its configuration lie elsewhere, and stay.
  RMDir /r "$INSTDIR\python"
  RMDir /r "$INSTDIR\lib"
  Delete "$INSTDIR\LICENSE.txt"
  Delete "$INSTDIR\dropline.exe"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  DeleteRegKey HKLM "${REMOVED}"
  DeleteRegKey HKLM "Software\Dropline"
SectionEnd
